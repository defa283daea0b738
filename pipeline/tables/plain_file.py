"""A Parquet file under one name, whose content changes without any reader noticing.

Readers open such a file more than once: DuckDB reads where its pages lie when it plans a query, and the pages later, by
the name anew. So the file that takes the place of another one by a rename holds that one's pages, too, where they were,
and its own somewhere else; its footer, from which a reader learns where pages lie, names its own alone. Pages that were
replaced long ago are left out: there is a hole, which takes no room on the disk.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

SECONDS_KEPT = 900.0
"""How long after it planned a query a reader still finds the pages."""

SECONDS_TO_OPEN = 1.0
"""How long it does so where they hold rows that must go."""

_MAGIC = b"PAR1"
_BLOCK = 1 << 20


class Span(NamedTuple):
    """Pages of the file.

    Attributes:
        start: of the first one.
        stop: behind the last one.
        replaced: when others took their place, seconds since 1970; None for those that the footer names.
    """

    start: int
    stop: int
    replaced: float | None


def write_beside(
    path: Path, before: Path, kept: Sequence[Span], schema: pa.Schema, fill: Callable[[pq.ParquetWriter], None]
) -> Span:
    """Write a file that holds some pages of another one where they were, and rows of its own; return where these lie.

    Args:
        path: of the new file.
        before: of the other one.
        kept: which of its pages.
        schema: of the rows.
        fill: writes them; called again where they did not fit in front of what is kept.
    """
    first = min((span.start for span in kept), default=0)
    last = max((span.stop for span in kept), default=len(_MAGIC))
    # In front of what is kept, if they are likely to fit there: else the file would grow for ever.
    is_roomy = first > 2 * sum(span.stop - span.start for span in kept)
    for start in [len(_MAGIC), last] if is_roomy else [last]:
        with path.open("wb") as file:
            file.write(_MAGIC)
            copy_spans(before, file, kept)
            sink = _Sink(file, start)
            stream = pa.PythonFile(sink, mode="w")
            with pq.ParquetWriter(stream, schema, **_options(schema)) as writer:
                sink.pass_over(stream)
                fill(writer)
                stop = sink.position
                if start < first < stop:
                    continue  # kept pages were overwritten
                sink.position = max(stop, last)
            return Span(start, stop, None)
    raise AssertionError("behind everything there is room")


def write_without(path: Path, before: Path, kept: Span) -> None:
    """Write a file that holds some pages of another one where they were, with its footer, and nothing else of it.

    Args:
        path: of the new file.
        before: of the other one.
        kept: the pages that the footer names.
    """
    size = before.stat().st_size
    with before.open("rb") as file:
        file.seek(size - 8)
        footer = Span(size - 8 - int.from_bytes(file.read(4), "little"), size, None)
    with path.open("wb") as file:
        file.write(_MAGIC)
        copy_spans(before, file, [kept, footer])


def copy_spans(source: Path, target: BinaryIO, spans: Sequence[Span]) -> None:
    """Copy some bytes of a file to where they were; what is in between takes no room."""
    if spans:
        with source.open("rb") as file:
            for span in spans:
                file.seek(span.start)
                target.seek(span.start)
                left = span.stop - span.start
                while left and (block := file.read(min(left, _BLOCK))):
                    target.write(block)
                    left -= len(block)


class _Sink:
    """Takes what a writer of Parquet writes, from ``start`` on; it numbers bytes from what it has written itself."""

    closed = False

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file, self._start = file, start
        self.position = 0

    def pass_over(self, stream: pa.NativeFile) -> None:
        """Let the writer, which has written the first bytes of a file, go on at the start."""
        while self.position < self._start:
            stream.write(bytes(min(_BLOCK, self._start - self.position)))

    def write(self, data: bytes | pa.Buffer) -> int:
        if self.position >= self._start:
            self._file.seek(self.position)
            self._file.write(data)
        self.position += len(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        pass


def _options(schema: pa.Schema) -> dict[str, Any]:
    coded = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    return {"compression": "zstd", "compression_level": 1, "use_dictionary": coded, "store_schema": False}
