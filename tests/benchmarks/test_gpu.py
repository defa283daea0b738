"""The GPU benchmark: what a machine needs for it, its count of products, and the run itself at reduced length."""

import json
import subprocess
import sys

import pytest
import torch

from benchmarks.gpu import EXPERIMENTS, UNFINISHED
from benchmarks.products import multiply_adds
from pipeline.config import load_params
from pipeline.datasets.store.spec import InputSpec
from tests.repository import PROJECT

SHARED = PROJECT.parent / "shared" / "data"

IMPORT_ALONE = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"dvc", "prefect", "pooch", "duckdb", "psutil", "typer", "plotly"}:
            raise ModuleNotFoundError(f"{name} is not on this machine", name=name)

sys.meta_path.insert(0, Absent())
import benchmarks.gpu
from benchmarks.machine import describe_machine
describe_machine()
"""


def test_it_needs_neither_dvc_nor_prefect_nor_pooch_nor_duckdb():
    subprocess.run([sys.executable, "-c", IMPORT_ALONE], cwd=PROJECT, check=True)


def test_products_of_the_papers_networks():
    params = load_params(PROJECT)
    mnist = multiply_adds(params.experiment("mnist").model, InputSpec.pixels((1, 28, 28)))
    encoder = 784 * 500 + 500 * 2000 + 500 * 10 + 2000 * 10
    decoder = 5 * 2000 + 2000 * 500 + 5 * 500 + 500 * 500 + 500 * 784
    assert mnist == encoder + decoder
    shapes = multiply_adds(params.experiment("shapes3d_1").model, InputSpec.pixels((3, 32, 32)))
    rungs = 64 * 64 * 16 * (64 + 49) + 3136 * 40 + 128 * 128 * 16 * 16 + 128 * 256 * 16 * 4 + 1024 * 4
    encoder = 3 * 64 * 16 * 256 + 64 * 128 * 16 * 64 + rungs
    decoder = 22 * 16384 + 256 * 128 * 16 * 64 + 128 * 64 * 9 * 256 + 128 * 3 * 16 * 256
    assert shapes == encoder + decoder


@pytest.mark.soak
@pytest.mark.parametrize("only", list(EXPERIMENTS))
def test_every_run_ends_also_after_being_stopped(only):
    """Without a GPU at reduced length; the result says so."""
    raw = PROJECT / "data" / "raw" / only
    if only != "shapes3d" and not raw.exists():
        if not (SHARED / only).is_dir():
            pytest.skip(f"no real images: put them at {SHARED / only}")
        raw.parent.mkdir(parents=True, exist_ok=True)
        raw.symlink_to(SHARED / only)
    command = [sys.executable, "-m", "benchmarks.gpu", "--only", only]
    stopped = subprocess.run([*command, "--minutes", "0.1"], cwd=PROJECT, check=False)
    assert stopped.returncode in (0, UNFINISHED)
    while (code := subprocess.run(command, cwd=PROJECT, check=False).returncode) == UNFINISHED:
        pass
    assert code == 0
    suffix = "" if torch.cuda.is_available() else "-reduced"
    for experiment in EXPERIMENTS[only]:
        result = json.loads((PROJECT / "benchmarks" / "results" / f"gpu-{experiment}{suffix}.json").read_text())
        assert result["is_reduced"] == bool(suffix)
        assert result["unhealthy_seeds"] == []
        # On a processor a convolution may be faster than the product that the rate is taken from.
        assert 0 < result["part_of_product_rate"] < (2 if suffix else 1)
