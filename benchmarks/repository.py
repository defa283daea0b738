"""A built repository: all its stages anew, and with nothing changed, beside DVC on an empty pipeline of six stages."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from benchmarks.lines import Line, Side, compare, report
from pipeline.config.dag import stage_names
from pipeline.core.layout import Layout
from pipeline.operations.dvc import run_dvc
from pipeline.operations.locks import repository_lock
from pipeline.operations.page import refresh_page
from pipeline.operations.stage_server import stage_server
from tests.repository import EXPERIMENT, Repository

_BIN = Path(sys.executable).parent
_GIT = {f"GIT_{role}_{what}": "bench@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def measure(full: bool) -> list[Line]:
    """Build a tiny experiment, then time commands that find nothing to do, and the page."""
    rounds = 9 if full else 3
    os.environ.update(_GIT)
    with tempfile.TemporaryDirectory() as scratch:
        empty, root = Path(scratch) / "empty", Path(scratch) / "built"
        _make_empty(empty)
        repository = Repository.create(root)
        repository.rebuild()
        quiet = {"DVC_SITE_CACHE_DIR": str(root / ".dvc" / "site-cache"), "DVC_NO_ANALYTICS": "1"}
        nothing = _call(empty, quiet, str(_BIN / "dvc"), "repro")
        layout = Layout(root, EXPERIMENT)
        published = layout.published / "models"
        return [
            compare(
                "dvc repro, nothing to do",
                _call(root, quiet, str(_BIN / "dvc"), "repro"),
                nothing,
                "an empty pipeline of six stages",
                rounds=rounds,
            ),
            compare(
                "facets rebuild, nothing to do",
                _call(root, quiet, *repository.facets_command, "rebuild", EXPERIMENT),
                nothing,
                "an empty pipeline of six stages",
                rounds=rounds,
            ),
            compare(
                "all stages",
                lambda: _run_all(layout, stage_server(root)),
                lambda: _run_all(layout, nullcontext(sys.executable)),
                "each in a Python of its own",
                rounds=rounds,
            ),
            compare(
                "page composed",
                lambda: refresh_page(layout, force=True),
                lambda: [path.read_bytes() for path in published.rglob("*") if path.is_file()],
                "reading the model's folder",
                rounds=rounds,
            ),
        ]


def _run_all(layout: Layout, python: AbstractContextManager[str]) -> None:
    targets = [f"{stage}@{layout.experiment}" for stage in stage_names(layout.root)]
    with repository_lock(layout.root, "benchmark") as held, python as program:
        run_dvc(layout.root, ["repro", "--force", *targets], held, python=program)


def _make_empty(root: Path) -> None:
    root.mkdir(parents=True)
    stages = "".join(f"  s{i}:\n    cmd: echo {i} > out-{i}\n    outs: [out-{i}]\n" for i in range(6))
    (root / "dvc.yaml").write_text("stages:\n" + stages)
    for command in (("git", "init", "--quiet"), (str(_BIN / "dvc"), "init", "--quiet"), (str(_BIN / "dvc"), "repro")):
        _call(root, {}, *command)()


def _call(root: Path, environment: Mapping[str, str], *command: str) -> Side:
    def run() -> None:
        subprocess.run(command, cwd=root, check=True, capture_output=True, env={**os.environ, **environment})

    return run


if __name__ == "__main__":
    report(measure)
