"""What ``facets push`` and ``facets pull`` have in common."""

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from pipeline.cli._shared import absolute
from pipeline.core.text import counted

Address = Annotated[
    str | None,
    typer.Argument(
        metavar="ADDRESS",
        help="Folder or URL (s3://…); by default the one that data/shared/EXP.json notes, where the first push put it.",
        show_default=False,
    ),
]


def located(address: str | None) -> str | None:
    """Return an address as it is from everywhere; None where none is given.

    Raises:
        ConfigError: it is empty.
    """
    if address is None:
        return None
    place = absolute(address)
    return place.rstrip("/") if "://" in place else os.path.normpath(place)


def megabytes(n_files: int, n_bytes: int) -> str:
    """Return how much was moved, in words."""
    return f"{counted(n_files, 'file')}, {n_bytes / 1e6:.1f} MB"


def joined(batch_ids: Sequence[str]) -> str:
    """Return which batches of this clone were added to the version; nothing where none was."""
    return f"; {counted(len(batch_ids), 'batch')} of yours added to it: {', '.join(batch_ids)}" if batch_ids else ""
