import resource
import shutil
from dataclasses import replace

import pytest
import torch
import yaml

from pipeline.core.errors import ResourceError
from pipeline.training import resume as resume_module
from pipeline.training.resume import load_resume, remove_resume, resume_key, save_resume
from tests.model.builders import TINY
from tests.repository import PROJECT
from tests.training.builders import TRAIN

CPU = torch.device("cpu")


@pytest.fixture
def inputs(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    return [tmp_path / "a", tmp_path / "b"]


def test_the_key_follows_parameters_and_inputs(inputs):
    key = resume_key([TINY, TRAIN, {"device": "cpu"}], inputs)
    assert key == resume_key([TINY, TRAIN, {"device": "cpu"}], inputs)
    keys = {key, resume_key([TINY, replace(TRAIN, batch_size=9), {"device": "cpu"}], inputs)}
    keys.add(resume_key([replace(TINY, sigma=0.5), TRAIN, {"device": "cpu"}], inputs))
    keys.add(resume_key([TINY, TRAIN, {"device": "Some GPU"}], inputs))
    inputs[1].write_text("changed")
    keys.add(resume_key([TINY, TRAIN, {"device": "cpu"}], inputs))
    assert len(keys) == 5
    assert all(len(one) == 12 for one in keys)


def test_a_change_of_any_code_that_decides_numbers_starts_anew(monkeypatch, tmp_path):
    package = tmp_path / "pipeline"
    shutil.copytree(resume_module._PACKAGE, package)
    monkeypatch.setattr(resume_module, "_PACKAGE", package)
    key = resume_key([], [])
    for name in ("kernels/adam.py", "mixture/refit.py", "model/elbo.py", "training/step.py", "core/seeding.py"):
        with (package / name).open("a") as file:
            file.write("# changed\n")
        assert resume_key([], []) != key, name
        key = resume_key([], [])
    (package / "model" / "families").mkdir()
    (package / "model" / "families" / "new.py").write_text("pass")
    with_new = resume_key([], [])
    assert with_new != key
    (package / "cli" / "_app.py").write_text("pass")
    assert resume_key([], []) == with_new


def test_the_key_covers_the_code_that_stage_train_depends_on_except_what_only_moves_files():
    deps = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]["train"]["deps"]
    parts = {dep.removeprefix("pipeline/") for dep in deps if dep.startswith("pipeline/")}
    moves_files = {"datasets/store", "core/records.py", "core/storage.py"}
    comes_after_training = {"groups", "core/groups.py", "core/contingency.py"}  # every time, from what was trained
    assert set(resume_module._CODE) == parts - moves_files - comes_after_training


def test_tensors_and_plain_values_survive(tmp_path):
    state = {"tensor": torch.arange(3), "list": [{"a": 1.5, "b": None}], "map": {3: "text"}}
    save_resume(tmp_path / "running.pt", state)
    loaded = load_resume(tmp_path / "running.pt", CPU)
    assert loaded is not None
    assert torch.equal(loaded.pop("tensor"), torch.arange(3))
    assert loaded == {"list": [{"a": 1.5, "b": None}], "map": {3: "text"}}


@pytest.mark.parametrize("n_values", [10, 100_000])
def test_a_full_disk_is_told_and_the_old_file_stays(tmp_path, n_values):
    path = tmp_path / "running.pt"
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, before[1]))
    try:
        with pytest.raises(ResourceError, match=r"running\.pt must be writable, but: File too large"):
            save_resume(path, {"tensor": torch.zeros(n_values)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("content", [None, b"", b"text", b"PK\x03\x04 and then nothing of use"])
def test_no_readable_file(tmp_path, content):
    if content is not None:
        (tmp_path / "running.pt").write_bytes(content)
    assert load_resume(tmp_path / "running.pt", CPU) is None


def test_a_finished_stage_leaves_nothing_and_other_stages_alone(tmp_path):
    for name in ("train-0123", "train-4567", "assign-0123"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "running.pt").touch()
    remove_resume(tmp_path / "train-4567")
    assert [path.name for path in tmp_path.iterdir()] == ["assign-0123"]


def test_a_file_of_another_schema_is_said_and_begun_anew(tmp_path, caplog):
    path = tmp_path / "running.pt"
    save_resume(path, {"epoch": 3})
    assert load_resume(path, CPU) == {"epoch": 3}
    torch.save({"schema": 99, "epoch": 3}, path)
    assert load_resume(path, CPU) is None
    assert f"{path} must be of schema 1, got 99: the training starts anew" in caplog.text
