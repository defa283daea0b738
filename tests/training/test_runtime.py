from dataclasses import replace

import pytest
import torch

from pipeline.core.errors import ResourceError
from pipeline.model import MultiFacetVae
from pipeline.training import runtime as runtime_module
from pipeline.training.runtime import limit_threads, resolve_runtime
from tests.model.builders import SPEC, TINY
from tests.training.builders import TRAIN

AUTO = replace(TRAIN, device="auto", precision="auto")


@pytest.fixture
def machine(monkeypatch):
    """Pretend to be another machine."""

    def pretend(cuda=False, gpu_bf16=False, **capabilities):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: gpu_bf16)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Some GPU")
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)

    return pretend


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "avx2": True}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_a_processor_that_multiplies_bfloat16_uses_it(machine, capabilities, precision):
    machine(**capabilities)
    runtime = resolve_runtime(AUTO)
    assert (runtime.device, runtime.precision) == (torch.device("cpu"), precision)


@pytest.mark.parametrize(("gpu_bf16", "precision"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_takes_the_gpu(machine, gpu_bf16, precision):
    machine(cuda=True, gpu_bf16=gpu_bf16, avx512_bf16=True)
    runtime = resolve_runtime(AUTO)
    assert (runtime.device.type, runtime.precision) == ("cuda", precision)
    assert runtime.describe() == {
        "device": "Some GPU",
        "precision": str(precision).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }


def test_what_is_asked_for_is_taken(machine):
    machine(cuda=True, gpu_bf16=True, avx512_bf16=True)
    runtime = resolve_runtime(replace(AUTO, device="cpu", precision="float32"))
    assert (runtime.device.type, runtime.precision) == ("cpu", torch.float32)
    assert runtime.describe()["device"] == "cpu"
    machine()
    assert resolve_runtime(replace(AUTO, precision="bfloat16")).precision == torch.bfloat16


def test_a_gpu_that_is_not_there(machine):
    machine()
    with pytest.raises(ResourceError, match=r"^device is cuda, but no CUDA device was found; use auto or cpu"):
        resolve_runtime(replace(TRAIN, device="cuda"))


@pytest.mark.parametrize(("hidden", "threads"), [(((7,), (6,)), 1), (((500,), (2000,)), 2)])
def test_small_steps_keep_to_one_thread(monkeypatch, hidden, threads):
    count = [2]
    monkeypatch.setattr(runtime_module.torch, "set_num_threads", lambda n: count.__setitem__(0, n))
    limit_threads(MultiFacetVae(replace(TINY, hidden=hidden), SPEC), 512)
    assert count == [threads]
