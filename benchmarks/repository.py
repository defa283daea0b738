"""A built repository in which nothing has changed, and its page, beside DVC on an empty pipeline of six stages."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.lines import Line, Side, compare, report
from pipeline.core.layout import Layout
from pipeline.operations.page import refresh_page
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
                "page composed",
                lambda: refresh_page(layout, force=True),
                lambda: [path.read_bytes() for path in published.rglob("*") if path.is_file()],
                "reading the model's folder",
                rounds=rounds,
            ),
        ]


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
