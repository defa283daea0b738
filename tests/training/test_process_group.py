"""Processes that train together: the same numbers as one, seeds shared out, a lost one noticed, exact resume."""

import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from pipeline.core.errors import ConfigError
from pipeline.core.layout import Layout
from pipeline.model.checkpoint import seed_state, weights_path
from pipeline.training import health, initialise, train
from pipeline.training.engine import TrainingEngine
from pipeline.training.process_group import ALONE, ProcessGroup, join_process_group
from tests.model.builders import TINY
from tests.repository import Repository
from tests.training.builders import INIT, TRAIN, assert_same_state, phase, started_model, training_images
from tests.training.prepared import prepare

LONG = replace(TRAIN, phases=(phase(17), phase(17, 0.5)))  # 3 steps an epoch


@pytest.fixture(autouse=True, scope="module")
def _any_variation_counts():
    """So short a training leaves latents that hardly vary; here that is no collapse."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(health, "_ACTIVE_RATIO", 0.0)
        yield


def in_processes(work, *arguments):
    """Run ``work`` in two processes that find each other as under torchrun.

    They start from a process without threads: a copy of the tests' own could inherit a lock that a thread holds, of
    autograd or of Prefect, and wait for it forever.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipeline.training.engine"])  # torch is loaded once, not by each
    started = [context.Process(target=_join, args=(rank, port, work, *arguments)) for rank in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0, 0]


def _join(rank, port, work, *arguments):
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.use_deterministic_algorithms(True)
    work(*arguments)


def run_steps(processes, path):
    engine = TrainingEngine(started_model(dtype=torch.float64), (0,), training_images(), LONG, torch.float64, processes)
    record = [torch.from_numpy(engine.run(chunk)) for chunk in engine.schedule.chunks()]
    if processes.leads:
        torch.save({"record": torch.cat(record), **seed_state(engine.model, 0)}, path)


def run_steps_together(path):
    with join_process_group() as processes:
        assert processes.size == 2
        run_steps(processes, path)


def test_two_processes_give_the_parameters_of_one(tmp_path):
    """Both phases, 102 steps of a batch of 8, float64."""
    run_steps(ALONE, tmp_path / "one.pt")
    in_processes(run_steps_together, tmp_path / "two.pt")
    one, two = (torch.load(tmp_path / f"{name}.pt") for name in ("one", "two"))
    assert len(one["record"]) >= 100
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-8, atol=1e-12, msg=name)


def test_a_batch_that_cannot_be_divided():
    with pytest.raises(ConfigError, match="a batch must be a multiple of the 3 processes that share it, got 8"):
        ProcessGroup(1, 3).part(8)
    assert [ProcessGroup(rank, 4).part(8) for rank in range(4)] == [slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8)]


def train_tiny(root, seeds):
    health._ACTIVE_RATIO = 0.0  # the fixture's patch does not reach another process
    train(Layout(root, "tiny"), seeds, TINY, TRAIN)


@pytest.mark.no_shapes
@pytest.mark.parametrize("seeds", [(0, 1, 2), (1,)])
def test_the_stage_writes_once_what_one_process_writes(tmp_path, seeds):
    """Three seeds are shared out and give the same bits; a single one is trained by both processes."""
    layout = Layout(tmp_path / "one", "tiny")
    prepare(layout)
    initialise(layout, seeds, TINY, INIT, "cpu")
    shutil.copytree(layout.root, tmp_path / "two")
    train_tiny(layout.root, seeds)
    in_processes(train_tiny, tmp_path / "two", seeds)
    for seed in seeds:
        one, two = (load_file(weights_path(tmp_path / name / "artifacts/tiny/model", seed)) for name in ("one", "two"))
        if len(seeds) > 1:
            assert_same_state(one, two)
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4, msg=name)
    assert not list((tmp_path / "two").glob(".work/tiny/train-*"))


@pytest.mark.soak
def test_a_killed_process_is_named_and_the_training_goes_on_exactly(template: Repository, tmp_path: Path):
    """Real torchrun, the real stage: kill one of two processes, start again, compare with an undisturbed run."""
    undisturbed, killed = template.copy(tmp_path / "undisturbed"), template.copy(tmp_path / "killed")
    for repository in (undisturbed, killed):
        repository.edit_params(lambda params: params.update(seeds=[0]))
        repository.edit_params(lambda params: params["train"]["phases"][1].update(epochs=400))
        shutil.rmtree(repository.root / "artifacts" / "tiny" / "model")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    command += ["-m", "stages.train", "tiny"]
    environment = {**os.environ, "PYTHONPATH": str(killed.root)}
    with subprocess.Popen(
        command, cwd=killed.root, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        _kill_one_after_a_checkpoint(killed.root, process.pid)
        _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "all 2 processes that train tiny must live to the end, but one was lost" in errors
    assert "run the same command again" in errors
    for repository in (killed, undisturbed):
        repository.run(*command, PYTHONPATH=str(repository.root))
    one, two = (load_file(weights_path(r.root / "artifacts/tiny/model", 0)) for r in (undisturbed, killed))
    assert_same_state(one, two)


def _kill_one_after_a_checkpoint(root, launcher):
    deadline = time.monotonic() + 120
    while not list(root.glob(".work/tiny/train-*/running-*.pt")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ranks = {
        int(child.environ()["RANK"]): child
        for child in psutil.Process(launcher).children()
        if "RANK" in child.environ()
    }
    ranks[1].send_signal(signal.SIGKILL)
