"""Tables for people."""

import io
import sys
from collections.abc import Iterable, Sequence

from pipeline.core.text import printable

_WIDTH_OF_FILES = 10_000  # in a file or a pipe each row is one line


def table_text(names: Sequence[str], are_numbers: Sequence[bool], rows: Iterable[Sequence[object]]) -> str:
    """Return rows under a ruled header, numbers to the right.

    On a terminal the header is bold, and cells of a table that is too wide are folded.

    Args:
        names: of the columns.
        are_numbers: whether a column holds numbers.
        rows: one cell a column; None is shown as nothing.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    is_terminal = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", show_edge=False, pad_edge=False)
    for name, is_number in zip(names, are_numbers, strict=True):
        table.add_column(Text(printable(name)), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_text(cell)) for cell in row))
    width = None if is_terminal else _WIDTH_OF_FILES
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=width, highlight=False)
    with console.capture() as printed:
        console.print(table)
    return "\n".join(line.rstrip() for line in printed.get().rstrip("\n").split("\n"))


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:.4g}"
    return "" if cell is None else printable(" ".join(str(cell).split()))
