"""Deliveries that were rejected as a whole: which, and why, as the inbox keeps them until people clear it away."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.core.errors import ResourceError
from pipeline.core.layout import Layout
from pipeline.core.text import printable
from pipeline.operations.deliveries import REASON, REJECTED

_MOST_CHARACTERS = 1000


@dataclass(frozen=True)
class Rejected:
    """One delivery of which no image was taken.

    Attributes:
        name: as it lies in ``rejected/``, the time of its rejection in front.
        reason: why it could not be used.
    """

    name: str
    reason: str


def rejected_deliveries(layout: Layout) -> list[Rejected]:
    """Return the deliveries that lie in ``data/inbox/<exp>/rejected``, the newest first.

    Raises:
        ResourceError: that folder or a reason in it cannot be read.
    """
    folder = layout.inbox / REJECTED
    try:
        return sorted(_read(layout), key=lambda found: found.name, reverse=True) if folder.is_dir() else []
    except OSError as error:
        raise ResourceError(f"{folder} must be a folder that can be read, but: {error.strerror}; mend it") from error


def _read(layout: Layout) -> Iterator[Rejected]:
    for path in (layout.inbox / REJECTED).glob(f"*{REASON}"):
        if not os.path.lexists(path.with_name(path.name.removesuffix(REASON))):
            continue  # cleared away, without what was said of it
        with path.open(encoding="utf-8", errors="backslashreplace") as file:
            reason = file.readline(_MOST_CHARACTERS).strip()
        yield Rejected(printable(path.name.removesuffix(REASON)), printable(reason))
