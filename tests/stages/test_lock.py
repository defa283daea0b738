"""The committed ``dvc.lock`` tells from which code and parameters the shipped experiment was last built."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.repository import PROJECT

_READ = ("pipeline", "stages", "data", "hints", "params.yaml", "dvc.yaml", "dvc.lock", ".dvcignore", ".dvc")

_ABSENT = {"deleted", "not in cache"}
"""What DVC says of the outputs of a clone in which nothing has run yet."""


def test_it_is_of_the_code_and_the_parameters_beside_it(tmp_path: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z", *_READ], cwd=PROJECT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, tmp_path / name)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    dvc, environment = (
        str(Path(sys.prefix, "bin", "dvc")),
        {**os.environ, "DVC_SITE_CACHE_DIR": str(tmp_path / "cache")},
    )
    shown = subprocess.run(
        [dvc, "status", "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    stale = {stage: found for stage, changes in json.loads(shown.stdout).items() if (found := _changed(changes))}
    assert stale == {}, "make repro builds digits anew: commit the dvc.lock that it writes"


def _changed(changes: list[Any]) -> list[Any]:
    """Return what of a stage differs from the lock, its outputs apart, which a clone does not have."""
    found: list[Any] = []
    for change in changes:
        files = (
            [files for kind, files in change.items() if kind != "changed outs"]
            if isinstance(change, dict)
            else [change]
        )
        found += [one for one in files if not isinstance(one, dict) or not set(map(str, one.values())) <= _ABSENT]
    return found
