"""What became of the images of a source: how many were set aside and why, how many are copies or were removed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.text import count_reasons, set_aside

_SCHEMA = pa.schema([("file", pa.string()), ("reason", pa.string())])
_COUNTS = ("n_total", "copies", "removed")


@dataclass(frozen=True)
class Account:
    """The images of a source, counted.

    Attributes:
        n_total: all, good and bad.
        reasons: why images were set aside, and how many; the most frequent reason first.
        copies: images with the same content as another one before them; they train with an id of their own.
        removed: images left out because people removed their content from the experiment.
    """

    n_total: int
    reasons: dict[str, int]
    copies: int
    removed: int

    @property
    def text(self) -> str:
        """The same in words."""
        facts = [set_aside(self.n_total, self.reasons)]
        if self.copies:
            facts.append(f"{self.copies:,} of {self.n_total:,} are exact copies of others")
        if self.removed:
            facts.append(f"{self.removed:,} of {self.n_total:,} were removed from the experiment before")
        return "; ".join(facts)


def write_quarantine_table(path: Path, rejected: Sequence[tuple[str, str]], account: Account | None = None) -> None:
    """Write ``quarantine.parquet``: files that were refused, and why; the counts of a source stand in its footer.

    Args:
        path: of the table.
        rejected: (file, reason).
        account: of a source; None for a delivery, whose ``batch.json`` has the counts.
    """
    rows = [{"file": file, "reason": reason} for file, reason in rejected]
    counts = None if account is None else {name: str(getattr(account, name)) for name in _COUNTS}
    pq.write_table(pa.Table.from_pylist(rows, _SCHEMA.with_metadata(counts)), path)


def read_account(folder: Path) -> Account | None:
    """Return what ``quarantine.parquet`` in a prepared folder says of its source.

    None where the table is missing or damaged, which stage preprocess mends, or an earlier release wrote it, which did
    not count.
    """
    try:
        with pq.ParquetFile(folder / "quarantine.parquet") as file:
            footer = file.schema_arrow.metadata or {}
            if not all(name.encode() in footer for name in _COUNTS):
                return None
            reasons = count_reasons(file.read(["reason"])["reason"].to_pylist())
    except (pa.ArrowException, OSError):
        return None
    return Account(reasons=reasons, **{name: int(footer[name.encode()]) for name in _COUNTS})
