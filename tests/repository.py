"""A real repository in a temporary folder: the library, git, DVC and an experiment that trains in a moment."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.config.dag import stage_names
from pipeline.config.resolve import resolve
from pipeline.config.safe_yaml import safe_load
from pipeline.core.layout import Layout
from pipeline.operations.hint_lines import start_hint_files

PROJECT = Path(__file__).parents[1]
STAGES = stage_names(PROJECT)
EXPERIMENT = "tiny"
REBUILD = ("rebuild", EXPERIMENT, "--retry-minutes", "0")
"""Of the tiny experiment, which is made to be quick: it trains for no trial's sake."""

_COPIED = ("pipeline", "stages", "dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config", ".dvc/.gitignore", ".dvc/plots")
_CHANGES: dict[str, dict[str, Any]] = {
    "preprocess": {"source": "npy", "path": "data/own/images.npz", "labels": "inside"},
    "model": {
        "hidden": [[16], [16]],
        "latent_dims": [2, 2],
        "n_components": [4, 3],
        "covariance": ["diagonal", "diagonal"],
        "likelihood": "gaussian",
        "sigma": 0.1,
        "activation": "elu",
        "rung_gate": 1.0,
    },
    "init_mog": {"max_iter": 20},
    "train": {
        "batch_size": 12,
        "learning_rate": 5.0e-3,
        "mixture_rate": 2.0,
        "warmup_steps": 4,
        "kl_weight": 0.05,
        "kl_epochs": 12,
        "min_entropy": 0.0,
        "checkpoint_seconds": 0.05,
        "phases": [{"epochs": 4, "fade_in": 0.0, "refit_at": 0.0}, {"epochs": 8, "fade_in": 0.5, "refit_at": 0.0}],
    },
    "score": {"bootstrap": 20},
    "ingest": {"quiet_seconds": 1.0},
    "schedule": {"poll_seconds": 0.5},
    "report": {"examples": 4, "generated": 2, "map_points": 50},
    "publish": {
        "gate": {
            "min_occupied": 0.0,
            "max_share": 1.0,
            "min_entropy": 0.0,
            "min_active_units": 0,
            "min_confidence": 0.0,
        }
    },
}


@dataclass(frozen=True)
class Repository:
    """A repository and what people do in it."""

    root: Path

    @classmethod
    def create(cls, root: Path) -> "Repository":
        """Make a repository with the library, git, DVC and the tiny experiment, everything committed, nothing run."""
        for name in _COPIED:
            _copy(PROJECT / name, root / name)
        (root / ".venv").symlink_to(sys.prefix)
        write_images(root / "data" / "own")
        repository = cls(root)
        repository.write_params({"active": [EXPERIMENT], "experiments": {EXPERIMENT: tiny_experiment()}})
        for name in ("joined", "removed"):
            (root / "data" / name).mkdir()
            (root / "data" / name / f"{EXPERIMENT}.json").write_text("[]\n")
        start_hint_files(Layout(root, EXPERIMENT))
        repository.run("git", "init", "--quiet", "--initial-branch=main")
        repository.commit("start")
        return repository

    @classmethod
    def adopt(cls, root: Path) -> "Repository":
        """Put the library of today into the repository of an earlier release, which is not in git; nothing is run."""
        for name in _COPIED:
            _copy(PROJECT / name, root / name)
        (root / ".venv").symlink_to(sys.prefix)
        repository = cls(root)
        repository.run("git", "init", "--quiet", "--initial-branch=main")
        repository.commit("updated")
        return repository

    def copy(self, root: Path) -> "Repository":
        """Return a copy that lies elsewhere."""
        shutil.copytree(self.root, root, symlinks=True, ignore=shutil.ignore_patterns("site-cache", "locks"))
        return Repository(root)

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the root; unless ``check`` is off, it must succeed."""
        done = subprocess.run(
            command, cwd=self.root, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def facets(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ``facets``."""
        return self.run(*self.facets_command, *arguments, check=check, **environment)

    @property
    def facets_command(self) -> list[str]:
        """How ``facets`` is started on this repository's own copy of the library."""
        return [str(self.root / ".venv" / "bin" / "python"), "-c", "from pipeline.cli import main; main()"]

    def rebuild(self, **environment: str) -> dict[str, Any]:
        """Rebuild the tiny experiment and return what ``facets rebuild --json`` prints about it."""
        (result,) = json.loads(self.facets(*REBUILD, "--json", **environment).stdout)
        return result

    def stages_run(self) -> list[str]:
        """Rebuild and return the names of the stages that ran."""
        return [stage["stage"] for stage in self.rebuild()["stages"] if stage["action"] == "ran"]

    def commit(self, message: str) -> None:
        """Commit every file that git does not ignore."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def write_params(self, params: dict[str, Any]) -> None:
        """Replace params.yaml."""
        (self.root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

    def edit_params(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the parameters of the tiny experiment in place."""
        params = safe_load((self.root / "params.yaml").read_text())
        change(params["experiments"][EXPERIMENT])
        self.write_params(params)

    def append(self, path: str, text: str) -> None:
        """Append text to a file of the repository."""
        with (self.root / path).open("a") as file:
            file.write(text)


@cache
def shipped_params() -> dict[str, Any]:
    """Return what the project's ``params.yaml`` says, values of presets filled in; not to be changed."""
    params = safe_load((PROJECT / "params.yaml").read_text())
    return {**params, "experiments": {name: resolve(part, name) for name, part in params["experiments"].items()}}


def tiny_experiment() -> dict[str, Any]:
    """Return the sections of an experiment that trains in a moment: the project's own, made small."""
    sections = deepcopy(shipped_params()["experiments"]["digits_ladder"])
    sections["seeds"] = [0, 1]
    for name, changes in _CHANGES.items():
        sections[name] = {**sections[name], **changes}
    for phase, epochs in zip(sections["train"]["phases"], (4, 8), strict=True):
        phase["epochs"] = epochs
    return sections


def write_images(folder: Path, corrections: dict[int, int] | None = None) -> None:
    """Write 120 images of three shapes in two shades, 8×8, with both labels each.

    Args:
        folder: gets ``images.npz``.
        corrections: other values of the label ``shape`` for some images.
    """
    generator = np.random.default_rng(0)
    shape, shade = np.arange(120) % 3, np.arange(120) // 3 % 2
    images = generator.integers(0, 40, (120, 8, 8), dtype=np.uint8)
    for i in range(120):
        patch = [(slice(1, 7), slice(3, 5)), (slice(3, 5), slice(1, 7)), (slice(0, 3), slice(0, 3))][shape[i]]
        images[i][patch] += np.uint8(100 + 100 * shade[i])
    shape[list(corrections or {})] = list((corrections or {}).values())
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "images.npz", images=images, shape=shape, shade=shade)


def build_template(root: Path) -> Repository:
    """Create a repository and rebuild the tiny experiment in it, once for all processes that ask for ``root``."""
    repository = Repository(root)
    with root.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "params.yaml").exists():
            unfinished = root.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            # The stages note what they import: tests/stages compares it with what dvc.yaml declares.
            Repository.create(unfinished).rebuild(PYTHONPATH=str(Path(__file__).parent / "tracing"))
            Repository(unfinished).commit("rebuilt")
            unfinished.rename(root)
    return repository


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("*.pyc.*"), dirs_exist_ok=True)
    elif source.exists():
        shutil.copy2(source, target)
