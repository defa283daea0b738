"""A disk that runs full at a random moment of a rebuild, an ingestion or a publish: a small file system in memory."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from benchmarks.machine import describe_machine
from pipeline.tables import History, read
from tests.operations.tiny import new_images
from tests.repository import EXPERIMENT, PROJECT, Repository

MIB = 160
"""A stage wants 64 MiB to be free before it starts; to run full in the middle, the disk must have more."""

N_MOMENTS = 3

Edit = Callable[[dict], None]


class SmallDisk:
    """A file system of :data:`MIB` MiB that can be filled up and emptied again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave not a byte."""
        with self._ballast.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(2**20)):
                    pass
            except OSError:
                pass
            try:
                while file.write(bytes(512)):
                    pass
            except OSError:
                pass

    def free(self) -> None:
        """Give the space back."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    folder.mkdir()
    options = ("-t", "tmpfs", "-o", f"size={MIB}m", "tmpfs")
    mounted = subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no small file system in memory: run them as root where mounting is allowed")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk") as made:
        yield made


@pytest.fixture
def crowded(template: Repository, disk: SmallDisk) -> Repository:
    """The repository on the small disk."""
    return template.copy(disk.folder / "repository")


def rows(repository: Repository) -> list[str]:
    assert History(repository.root / "published" / EXPERIMENT).check() == []
    return sorted(read(EXPERIMENT, "images", root=repository.root)["image_id"])


def run_full(repository: Repository, disk: SmallDisk, seconds: float, *arguments: str) -> bool:
    """Run a command whose disk is full after a while; it fails with one clear line, or was faster. Then make room."""
    before = rows(repository)
    command = [*repository.facets_command, *arguments]
    process = subprocess.Popen(
        command, cwd=repository.root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    time.sleep(seconds)
    disk.fill()
    _, said = process.communicate()
    now = rows(repository)
    disk.free()
    assert process.returncode in (0, 7), said
    if process.returncode:
        assert now == before
        assert "Traceback" not in said
        assert "No space left on device" in said or "free disk" in said, said
    return process.returncode == 7


def edit(section: str, **changes: object) -> Edit:
    return lambda sections: sections[section].update(changes)


def test_ingest_on_a_full_disk_leaves_the_version_and_is_completed_later(crowded: Repository, disk: SmallDisk) -> None:
    new = disk.folder.parent / "new.npy"
    np.save(new, new_images(30))
    before = rows(crowded)
    assert run_full(crowded, disk, 0.0, "ingest", EXPERIMENT, str(new))
    crowded.facets("ingest", EXPERIMENT, str(new))
    assert len(rows(crowded)) == len(before) + 30


def test_a_rebuild_on_a_full_disk_leaves_the_version_and_is_completed_later(
    crowded: Repository, disk: SmallDisk
) -> None:
    crowded.edit_params(edit("assign", batch_size=512))
    assert run_full(crowded, disk, 0.0, "rebuild", EXPERIMENT)
    assert crowded.stages_run() == ["resolve", "assign"]


# Either batch size holds a whole split: the outputs keep their bits on every processor, and report does not follow.
STAGE_EDITS = {
    "preprocess": edit("preprocess", split_seed=1),
    "init_mog": edit("init_mog", max_iter=21),
    "train": edit("train", warmup_steps=5),
    "score": edit("score", bootstrap=21),
    "assign": edit("assign", batch_size=512),
    "report": edit("report", generated=3),
}


@pytest.mark.soak
def test_full_at_random_moments(template: Repository, tmp_path: Path) -> None:
    """Each stage, ingest and publish, at several moments each; every time the same command completes the work later."""
    new = tmp_path / "new.npy"
    np.save(new, new_images(30))
    generator = np.random.default_rng(0)
    rebuild = ["rebuild", EXPERIMENT]
    cases = {name: (edited(template, change, tmp_path / name), rebuild) for name, change in STAGE_EDITS.items()}
    cases["ingest"] = (template, ["ingest", EXPERIMENT, str(new)])
    cases["publish"] = (trained(template, new, tmp_path / "publish"), ["publish", EXPERIMENT])
    cut_off: dict[str, int] = {}
    for name, (prepared, arguments) in cases.items():
        longest = duration(prepared.copy(tmp_path / f"{name}-trial"), arguments)
        for number in range(N_MOMENTS):
            with small_disk(tmp_path / f"{name}-{number}") as disk:
                repository = prepared.copy(disk.folder / "repository")
                moment = (number + generator.random()) / N_MOMENTS * longest
                cut_off[name] = cut_off.get(name, 0) + run_full(repository, disk, moment, *arguments)
                repository.facets(*arguments)
                assert repository.facets("check").returncode == 0
    result = {
        "command": "make soak",
        "what": "a file system of 160 MiB in memory was filled up at random moments of each of these",
        "moments_each": N_MOMENTS,
        "cut_off": cut_off,
        "machine": describe_machine(),
    }
    assert sum(cut_off.values()) >= len(cases)
    (PROJECT / "benchmarks" / "results" / "full-disk.json").write_text(json.dumps(result, indent=2) + "\n")


def edited(template: Repository, change: Edit, root: Path) -> Repository:
    repository = template.copy(root)
    repository.edit_params(change)
    return repository


def trained(template: Repository, new: Path, root: Path) -> Repository:
    """Return a repository with a new model and an ingested batch that it has yet to assign."""
    repository = edited(template, STAGE_EDITS["train"], root)
    repository.facets("ingest", EXPERIMENT, str(new))
    repository.run(".venv/bin/dvc", "repro", DVC_SITE_CACHE_DIR=str(root / ".dvc" / "site-cache"), DVC_NO_ANALYTICS="1")
    return repository


def duration(repository: Repository, arguments: list[str]) -> float:
    """Return how long a command takes."""
    start = time.monotonic()
    repository.facets(*arguments)
    return time.monotonic() - start
