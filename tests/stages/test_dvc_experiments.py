"""``dvc exp run``: a parameter set on the command line, in the workspace, in a copy and from the queue."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from pipeline.config import load_params
from pipeline.config.safe_yaml import safe_load
from pipeline.core.layout import Layout
from pipeline.core.storage import read_json
from pipeline.operations.new import add_experiment
from tests.onboarding.test_propose import write_images
from tests.repository import EXPERIMENT, PROJECT, Repository, tiny_experiment

OVERRIDES = {
    "seeds": ("[1, 2]", (1, 2)),
    "preprocess.split_seed": ("7", 7),
    "preprocess.size": ("[8, 8]", (8, 8)),
    "model.hidden": ("[[32], [64]]", ((32,), (64,))),
    "init_mog.max_iter": ("7", 7),
    "train.batch_size": ("16", 16),
    "score.bootstrap": ("7", 7),
    "assign.assigner": ("mean", "mean"),
    "report.examples": ("7", 7),
    "publish.gate.max_share": ("0.7", 0.7),
    "ingest.drift.min_images": ("7", 7),
    "schedule.rebuild": ("'every 6 hours'", "every 6 hours"),
}
"""One or more of every section: how it is written, and what it then is."""

PLAIN_PATH = os.pathsep.join(
    folder for folder in os.environ["PATH"].split(os.pathsep) if not Path(folder, "dvc").exists()
)
"""Of a shell in which nobody has activated the environment."""


def test_an_override_changes_its_own_value_and_no_comment(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    shutil.copy(PROJECT / "params.yaml", path)
    remarks = [line for line in path.read_text().splitlines() if "#" in line]
    expected = safe_load(path.read_text())
    for key, (text, _) in OVERRIDES.items():
        *parents, last = key.split(".")
        section = expected["experiments"]["digits"]
        for parent in parents:
            section = section[parent]
        section[last] = yaml.safe_load(text)
    apply_overrides(str(path), [f"experiments.digits.{key}={text}" for key, (text, _) in OVERRIDES.items()])
    assert safe_load(path.read_text()) == expected
    found = load_params(tmp_path).experiment("digits")
    for key, (_, value) in OVERRIDES.items():
        section = found
        for name in key.split("."):
            section = getattr(section, name)
        assert section == value
    assert [line for line in path.read_text().splitlines() if "#" in line] == remarks
    write_images(tmp_path / "mine", "grey", n=20)
    add_experiment(tmp_path, "own", str(tmp_path / "mine"))
    assert load_params(tmp_path).active == ("digits", "own")


def exp_run(repository: Repository, *arguments: str) -> str:
    done = repository.run(
        str(repository.root / ".venv/bin/dvc"),
        "exp",
        *arguments,
        PATH=PLAIN_PATH,
        DVC_SITE_CACHE_DIR=str(repository.root / ".dvc/site-cache"),
        DVC_NO_ANALYTICS="1",
    )
    return done.stdout + done.stderr


def stages_that_ran(output: str) -> list[str]:
    lines = [line for line in output.splitlines() if line.startswith("Running stage ")]
    return [line.split("'")[1].partition("@")[0] for line in lines]


@pytest.mark.soak
def test_an_experiment_runs_in_a_copy_from_a_plain_shell(repository: Repository) -> None:
    before = (repository.root / "params.yaml").read_bytes()
    output = exp_run(
        repository, "run", "--temp", "--name", "more", "-S", f"experiments.{EXPERIMENT}.score.bootstrap=21"
    )
    assert stages_that_ran(output) == ["score"]
    assert (repository.root / "params.yaml").read_bytes() == before
    repository.run(str(repository.root / ".venv/bin/dvc"), "exp", "apply", "more")
    assert load_params(repository.root).experiment(EXPERIMENT).score.bootstrap == 21


@pytest.mark.soak
def test_an_experiment_runs_from_the_queue(repository: Repository) -> None:
    folder = Layout(repository.root, EXPERIMENT).artifact("model")
    before = read_json(folder / "model.json")["model_version"]
    exp_run(repository, "run", "--queue", "--name", "queued", "-S", f"experiments.{EXPERIMENT}.train.batch_size=16")
    exp_run(repository, "run", "--run-all")
    exp_run(repository, "apply", "queued")
    assert load_params(repository.root).experiment(EXPERIMENT).train.batch_size == 16
    assert read_json(folder / "model.json")["model_version"] != before


@pytest.mark.soak
@pytest.mark.parametrize(
    ("override", "stages"),
    [
        ("preprocess.split_seed=1", ["preprocess", "init_mog", "train", "score", "assign", "report"]),
        ("train.learning_rate=0.001", ["train", "score", "assign", "report"]),
        ("assign.batch_size=64", ["assign"]),
        ("report.examples=5", ["report"]),
        ("publish.keep_versions=3", []),
    ],
)
def test_an_override_runs_the_stages_that_read_it_and_what_follows(
    repository: Repository, override: str, stages: list[str]
) -> None:
    assert stages_that_ran(exp_run(repository, "run", "-S", f"experiments.{EXPERIMENT}.{override}")) == stages


def test_a_python_without_the_packages_is_named_in_one_line(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "stages", tmp_path / "stages")
    (tmp_path / "bin").mkdir()
    repository = Repository(tmp_path)
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "FACETS_PYTHON": ""}
    bare = tmp_path / "bin/python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without any installed package
    bare.chmod(0o755)
    done = repository.run("sh", "stages/run", "train", "digits", check=False, **environment)
    assert done.returncode == 7
    assert done.stderr.count("\n") == 1
    assert "run make repro, or activate" in done.stderr
    bare.unlink()
    (tmp_path / "bin/dirname").symlink_to(shutil.which("dirname") or "/usr/bin/dirname")
    sh = shutil.which("sh") or "/bin/sh"
    done = repository.run(sh, "stages/run", "train", "digits", check=False, PATH=f"{tmp_path}/bin", FACETS_PYTHON="")
    assert done.returncode == 7
    assert done.stderr == (
        "train: the project's python is needed, got none; run make repro, or activate the environment first\n"
    )


def test_shared_sections_are_refused_under_dvc_exp_run(tmp_path: Path) -> None:
    sections = tiny_experiment()
    shared = {"active": ["tiny"], "experiments": {"tiny": sections, "other": {**sections, "train": sections["train"]}}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(shared))
    (tmp_path / "stages").symlink_to(PROJECT / "stages")
    environment = {"DVC_EXP_BASELINE_REV": "0123456", "PYTHONPATH": str(PROJECT)}
    command = (sys.executable, "-m", "stages.score", EXPERIMENT)
    done = Repository(tmp_path).run(*command, check=False, **environment)
    assert done.returncode == 2
    assert done.stderr.startswith("score: params.yaml must be spelled out for dvc exp run")
    assert done.stderr.count("\n") == 1
