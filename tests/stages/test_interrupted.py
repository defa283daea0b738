"""kill -9 of a rebuild at random points: the next one ends with exit 0 and the very same model."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.machine import describe_machine
from tests.repository import EXPERIMENT, PROJECT, REBUILD, STAGES, Repository

VICTIMS = ("supervisor", "dvc", "stage", "all")
MOST_SECONDS = 3.0


@dataclass(frozen=True)
class Kill:
    """Who is killed, how long after which stage has begun."""

    victim: str
    stage: str
    seconds: float


def draw_kills(n_kills: int, seed: int) -> list[Kill]:
    """Return random kills in the order of the stages, so that each can still happen after those before it."""
    generator = np.random.default_rng(seed)
    stages = np.sort(generator.integers(len(STAGES), size=n_kills))
    return [
        Kill(str(generator.choice(VICTIMS)), STAGES[stage], float(generator.uniform(0, MOST_SECONDS)))
        for stage in stages
    ]


def inhabitants(root: Path) -> dict[str, list[psutil.Process]]:
    """Return the living processes that work in a repository, by their part in a rebuild."""
    found: dict[str, list[psutil.Process]] = {"supervisor": [], "dvc": [], "stage": []}
    for process in psutil.process_iter(["cwd", "cmdline", "status"]):
        info = process.info
        if info["cwd"] == str(root) and info["status"] != psutil.STATUS_ZOMBIE:
            line = " ".join(info["cmdline"])
            part = "stage" if "stages." in line else "dvc" if "/dvc " in line else "supervisor"
            found[part].append(process)
    return found


def rebuild_and_kill(repository: Repository, kill: Kill) -> bool:
    """Start a rebuild and kill as told; return whether the rebuild was cut off by it."""
    command = [*repository.facets_command, *REBUILD]
    with subprocess.Popen(
        command, cwd=repository.root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        beginning = f"Running stage '{kill.stage}@{EXPERIMENT}'"
        if not any(beginning in line for line in process.stderr):
            return False
        time.sleep(kill.seconds)
        parts = inhabitants(repository.root)
        for part in ("supervisor", "dvc", "stage") if kill.victim == "all" else (kill.victim,):
            for victim in parts[part]:
                victim.send_signal(signal.SIGKILL)
        process.stderr.read()
        return process.wait() != 0


def everything(repository: Repository) -> dict[str, str]:
    """Return a digest of every file of the model and of the assignments."""
    folder = repository.root / "artifacts" / EXPERIMENT
    paths = sorted(path for name in ("model", "assignments") for path in (folder / name).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("n_kills", [pytest.param(2, id="2"), pytest.param(10, id="10", marks=pytest.mark.soak)])
def test_killed_at_random_points_a_rebuild_ends_with_the_same_model(
    template: Repository, empty_repository: Repository, n_kills: int
) -> None:
    kills = draw_kills(n_kills, seed=n_kills)
    were_cut_off = [rebuild_and_kill(empty_repository, kill) for kill in kills]
    assert any(were_cut_off)
    done = empty_repository.facets(*REBUILD, check=False)
    assert done.returncode == 0, f"{kills}\n{done.stderr}"
    assert everything(empty_repository) == everything(template)
    assert empty_repository.facets("check").returncode == 0
    assert inhabitants(empty_repository.root) == {"supervisor": [], "dvc": [], "stage": []}
    assert not list((empty_repository.root / "artifacts").rglob("*.tmp"))
    if n_kills > 3:
        result = {
            "command": "make soak",
            "kills": [asdict(kill) | {"cut_off": was} for kill, was in zip(kills, were_cut_off, strict=True)],
            "same_model": True,
            "machine": describe_machine(),
        }
        (PROJECT / "benchmarks" / "results" / "interrupted.json").write_text(json.dumps(result, indent=2) + "\n")


def test_a_stage_ends_when_its_supervisor_dies(empty_repository: Repository) -> None:
    kill = Kill("supervisor", "preprocess", 0.0)
    assert rebuild_and_kill(empty_repository, kill)
    deadline = time.monotonic() + 60
    while any(inhabitants(empty_repository.root).values()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(inhabitants(empty_repository.root).values())


IN_BACKGROUND = ["/bin/sh", "-c", '"$@" & echo $!; wait', "sh"]
"""How a script starts what it does not wait for: the shell has it ignore SIGINT."""


def test_a_rebuild_in_the_background_ends_with_all_its_processes_when_it_is_told_to(
    empty_repository: Repository,
) -> None:
    command = [*IN_BACKGROUND, *empty_repository.facets_command, *REBUILD]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=empty_repository.root, **pipes) as shell:
        assert shell.stdout is not None
        assert shell.stderr is not None
        pid = int(shell.stdout.readline())
        assert any("Running stage 'preprocess" in line for line in shell.stderr)
        told = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        assert "Traceback" not in shell.stderr.read()  # it ends with the last process that could write to it
    assert time.monotonic() - told < 10
    assert not any(inhabitants(empty_repository.root).values())


_BUSY = """
import sys, torch
from pipeline.core.side_by_side import run_in_rounds
from pipeline.stages._entry import stage_main

def work(seed):
    print("busy\\n", end="", flush=True)  # at once, or the other thread's word gets in between
    while True:
        torch.ones(300, 300) @ torch.ones(300, 300)

sys.argv = ["train.py", "tiny"]
stage_main(lambda layout, params: run_in_rounds(work, [0, 1], 2), ("seeds",))
"""


@pytest.mark.parametrize(
    ("number", "ignored"), [(signal.SIGTERM, ""), (signal.SIGINT, ""), (signal.SIGTERM, 'trap "" INT;')]
)
def test_a_stage_that_trains_two_seeds_at_once_ends_when_it_is_told_to(
    template: Repository, number: int, ignored: str
) -> None:
    command = ["/bin/sh", "-c", f'{ignored} exec "$@"', "sh", sys.executable, "-c", _BUSY]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=template.root, **pipes) as process:
        try:
            assert process.stdout is not None
            assert [process.stdout.readline() for _ in range(2)] == ["busy\n"] * 2
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, said) == (128 + number, "")
