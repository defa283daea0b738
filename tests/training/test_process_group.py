"""Processes that train together: the same numbers as one, seeds shared out, a lost one noticed, exact resume."""

import os
import shutil
import signal
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
from pipeline.model.checkpoint import weights_path
from pipeline.training import health, initialise, train
from pipeline.training.engine import TrainingEngine
from pipeline.training.process_group import ProcessGroup
from tests.model.builders import TINY
from tests.repository import Repository
from tests.training.builders import INIT, TRAIN, assert_same_state, phase, started_model, training_images
from tests.training.prepared import prepare
from tests.training.processes import assert_two_processes_do_as_one, in_processes, save_steps

LONG = replace(TRAIN, phases=(phase(17), phase(17, 0.5)))  # 3 steps an epoch


@pytest.fixture(autouse=True, scope="module")
def _any_variation_counts():
    """So short a training leaves latents that hardly vary; here that is no collapse."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(health, "_ACTIVE_RATIO", 0.0)
        yield


def run_steps(processes, path):
    engine = TrainingEngine(started_model(dtype=torch.float64), (0,), training_images(), LONG, torch.float64, processes)
    save_steps(engine, processes, path)


def test_two_processes_give_the_parameters_of_one(tmp_path):
    """Both phases, 102 steps of a batch of 8, float64."""
    steps = assert_two_processes_do_as_one(run_steps, tmp_path, rtol=1e-8, atol=1e-12)
    assert steps >= 100


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
    command += ["-m", "pipeline.stages.train", "tiny"]
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
