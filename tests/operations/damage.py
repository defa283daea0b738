"""Every file that the product writes, damaged one at a time: is it named, is it mended, does anything fall over?"""

import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import load_params
from pipeline.core.errors import PipelineError
from pipeline.core.layout import Layout
from pipeline.operations.check import check_experiments
from pipeline.operations.ingest import ingest
from pipeline.operations.name import name_cluster
from pipeline.operations.page import refresh_page
from pipeline.operations.publish import publish_staged
from pipeline.operations.stage_model import stage_model
from pipeline.tables import History, query
from tests.operations.tiny import new_images
from tests.repository import EXPERIMENT

WRITTEN = ("published", "data/batches", "data/prepared", "data/sources", "data/joined", "data/removed", "names")
"""Where the product writes, in every repository; ``artifacts`` and ``.work`` besides."""

EXEMPT = {
    ".work/locks": "locks: their content only names the holder",
    ".work/logs": "logs: for people, never the truth",
    ".work/imports": "written by the tests' own tracing",
    ".work/tiny/verified.txt": "a memory of which files were found right: made anew",
    ".work/tiny/fingerprint.json": "a memory of the last rebuild: made anew",
    ".work/dvc.run.json": "which DVC process ran last, to tell its locks after a kill: the next one writes it anew",
    ".work/dvc.lock.kept": "a copy of dvc.lock: made anew by the next DVC command",
    ".work/tiny/tracked": "second copies of tracked files: made anew from those by a repair",
    "/parts/content/": "hashes of what the parts say: one that is gone is not missed, and made anew",
    ".files.parquet": "a memory of hashes of the source's files: made anew",
}
"""Damage of these need not be named, and why; nothing may fall over because of it."""

UNMENDABLE = ("shard.h5",)
"""Images as delivered: nothing that is kept could give them back."""


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    """Flip one bit, as a failing disk does: in place, and without a new time of change."""
    times = path.stat()
    content = bytearray(path.read_bytes())
    # Not in the middle, where compressed or padded data may be without meaning: in the last tenth of the first half.
    content[len(content) * 9 // 20] ^= 4
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


DAMAGES: dict[str, Callable[[Path], None]] = {"empty": _empty, "half": _halve, "flip": _flip, "delete": Path.unlink}


_NOT_COPIED = shutil.ignore_patterns("pipeline", "stages", ".venv", "site-cache", "more.npy")
"""Of a whole repository: what no operation reads that runs in this process."""


@dataclass
class Case:
    """What became of one damaged file."""

    file: str
    damage: str
    named: bool
    mended: bool
    same_rows: bool
    wrong_rows: bool
    tracebacks: list[str]
    exempt: str = ""


def prepare(root: Path) -> None:
    """Let a published experiment have a batch, a name and everything that a repair adds."""
    layout, params = Layout(root, EXPERIMENT), load_params(root).experiment(EXPERIMENT)
    np.save(root / "delivery.npy", new_images(30))
    ingest(layout, params, str(root / "delivery.npy"))
    name_cluster(layout, "f1-c000", "crosses")
    assert check_experiments(root, deep=True)[EXPERIMENT].problems == ()


def files(root: Path) -> Iterator[str]:
    """Yield the files to damage, relative to the root."""
    for name in (*WRITTEN, "artifacts", ".work"):
        for path in sorted((root / name).rglob("*")):
            relative = str(path.relative_to(root))
            if path.is_file() and path.stat().st_size and "/locks/" not in relative:
                yield relative


def rows(root: Path) -> dict[str, list[dict[str, Any]]]:
    """Return everything that readers see."""
    tables = ("facet_0", "facet_1", "images", "clusters", "groups", "merges", "batches", "lineage", "quarantine")
    return {table: _rows(root, table) for table in tables}


def _rows(root: Path, table: str) -> list[dict[str, Any]]:
    return sorted(query(EXPERIMENT, f"FROM {table}", root=root, engine="arrow").to_pylist(), key=repr)


def trial(start: Path, scratch: Path, file: str, damage: str, expected: dict[str, Any]) -> Case:
    """Damage one file of a copy, use everything, repair, and compare."""
    root = scratch / "trial"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(start, root, symlinks=True, ignore=_NOT_COPIED)
    _link_as_staged(root)
    DAMAGES[damage](root / file)
    case = Case(file, damage, False, False, False, False, [], _exempt(file))
    found = _attempt(case, "check", lambda: check_experiments(root, [EXPERIMENT], deep=True))
    problems = () if found is None else found[EXPERIMENT].problems
    case.named = any(str(root / file) in problem for problem in problems)
    _use(case, root, expected)
    # On a copy of its own: what was used above may have changed it.
    shutil.rmtree(root)
    shutil.copytree(start, root, symlinks=True, ignore=_NOT_COPIED)
    _link_as_staged(root)
    DAMAGES[damage](root / file)
    repaired = _attempt(case, "repair", lambda: check_experiments(root, [EXPERIMENT], mend=True))
    case.mended = repaired is not None and not repaired[EXPERIMENT].problems
    case.same_rows = _attempt(case, "rows", lambda: rows(root)) == expected
    return case


def record(cases: list[Case]) -> list[dict[str, Any]]:
    """Return cases as JSON, with the ids that differ from run to run left as they are."""
    return [json.loads(json.dumps(asdict(case))) for case in cases]


def _link_as_staged(root: Path) -> None:
    """Let large files share their content as staging does: a copy of a folder does not."""
    layout = Layout(root, EXPERIMENT)
    for model in layout.published.glob("models/m-*"):
        for path in [*model.glob("assignments/*/*"), *model.glob("prepared/*")]:
            first, _, rest = str(path.relative_to(model)).partition("/")
            source = layout.prepared / rest if first == "prepared" else layout.artifact(first) / rest
            if source.is_file() and source.read_bytes() == path.read_bytes():
                path.unlink()
                path.hardlink_to(source)


def _use(case: Case, root: Path, expected: dict[str, Any]) -> None:
    layout, params = Layout(root, EXPERIMENT), load_params(root).experiment(EXPERIMENT)
    for table, known in expected.items():
        found = _attempt(case, f"query {table}", lambda table=table: _rows(root, table))
        case.wrong_rows |= found is not None and _bare(found) != _bare(known)
    _attempt(case, "status", lambda: History(layout.published).rows("batches"))
    _attempt(case, "report", lambda: refresh_page(layout, force=True))
    _attempt(case, "publish", lambda: publish_staged(layout, params, stage_model(layout, params)))
    np.save(root / "more.npy", new_images(6, seed=5))
    _attempt(case, "ingest", lambda: ingest(layout, params, str(root / "more.npy")))


def _bare(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows without the names that people give in a file of their own, where no edit can be told from damage."""
    return [{key: row[key] for key in row if key not in ("cluster_name", "name", "note")} for row in rows]


def _attempt(case: Case, what: str, use: Callable[[], Any]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a warning is no traceback, and the rest goes on
            return use()
    except PipelineError as error:
        if "\n" in str(error):
            case.tracebacks.append(f"{what}: more than one line: {error}")
    except Exception as error:  # noqa: BLE001 - what must not happen is counted
        case.tracebacks.append(f"{what}: {error!r}")
    return None


def _exempt(file: str) -> str:
    return next((reason for part, reason in EXEMPT.items() if part in file), "")
