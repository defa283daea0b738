"""``dvc exp run``: a parameter set on the command line, in the workspace, in a copy and from the queue."""

import json
import os
import re
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from pipeline.config import load_params
from pipeline.config.resolved import write_resolved
from pipeline.config.safe_yaml import safe_load
from pipeline.core.layout import Layout
from pipeline.core.text import to_json
from pipeline.operations.new import add_experiment
from tests.onboarding.test_propose import write_images
from tests.repository import EXPERIMENT, PROJECT, Repository, tiny_experiment

SHORT = """\
# What I look at.
active: [tiny]

experiments:
  # Three shapes in two shades.
  tiny:
    # Trials of 2 starts each
    preset: small_images  # many shades
    seeds: [0, 1]  # two will do
    preprocess:
      source: npy
      path: data/own/images.npz  # what was delivered
      labels: inside
    model:
      hidden: [[16], [16]]  # narrow
      latent_dims: [2, 2]
      n_components: [4, 3]  # few
      sigma: 0.1
      activation: elu
    init_mog: {max_iter: 20}
    train:  # in a moment
      {batch_size: 12, learning_rate: 0.005, mixture_rate: 2.0, warmup_steps: 4, kl_weight: 0.05, kl_epochs: 12,
       min_entropy: 0.0, phases: [{epochs: 4, fade_in: 0.0, refit_at: 0.0}, {epochs: 8, fade_in: 0.5, refit_at: 0.0}]}
    score: {bootstrap: 20}
    report: {examples: 4, generated: 2, map_points: 50}
    publish: {gate: {min_occupied: 0.0, max_share: 1.0, min_entropy: 0.0, min_active_units: 0, min_confidence: 0.0}}
    schedule: {poll_seconds: 0.5}  # soon

  # Another one.
  other:
    preset: small_images
    seeds: [3]  # one
    preprocess: {source: digits}
    model: {hidden: [[16], [16]], latent_dims: [2, 2], n_components: [4, 3], sigma: 0.1}
    train: {batch_size: 12, phases: [{epochs: 4, fade_in: 0.0, refit_at: 0.0}]}
"""

FROM_PREPROCESS = ("preprocess", "init_mog", "train", "score", "assign", "report")
OVERRIDES: dict[str, tuple[str, Any, tuple[str, ...]]] = {
    "seeds": ("[1, 2]", (1, 2), ("init_mog", "train", "report")),
    "preprocess.size": ("[8, 8]", (8, 8), ("preprocess",)),
    "model.n_components": ("[3, 3]", (3, 3), ("init_mog", "train")),
    "init_mog.max_iter": ("7", 7, ("init_mog",)),
    "train.batch_size": ("11", 11, ("train",)),
    "train.device": ("cpu", "cpu", ("init_mog", "train")),
    "score.bootstrap": ("7", 7, ("score",)),
    "assign.batch_size": ("64", 64, ("assign",)),
    "report.examples": ("7", 7, ("report",)),
    "publish.gate.max_share": ("0.7", 0.7, ()),
    "ingest.drift.min_images": ("7", 7, ()),
    "schedule.rebuild": ("'every 6 hours'", "every 6 hours", ()),
}
"""One or more of every section: how it is written, what it then is, and which stages read it."""


def override(key: str) -> str:
    """Return the argument of ``-S`` for a key; one that the section leaves to its preset takes a plus."""
    section: Any = safe_load(SHORT)["experiments"][EXPERIMENT]
    for name in key.split("."):
        section = section.get(name) if isinstance(section, dict) else None
    return f"{'+' if section is None else ''}experiments.{EXPERIMENT}.{key}={OVERRIDES[key][0]}"


def value_of(root: Path, key: str) -> Any:
    found: Any = load_params(root).experiment(EXPERIMENT)
    for name in key.split("."):
        found = getattr(found, name)
    return found


def remarks(text: str) -> list[str]:
    return re.findall(r"#.*", text)


PLAIN_PATH = os.pathsep.join(
    folder for folder in os.environ["PATH"].split(os.pathsep) if not Path(folder, "dvc").exists()
)
"""Of a shell in which nobody has activated the environment."""


def test_overrides_change_their_own_values_and_no_comment(tmp_path: Path) -> None:
    """One after the other, as a person tries them: DVC writes what it has read, and reads that again."""
    path = tmp_path / "params.yaml"
    path.write_text(SHORT)
    before = load_params(tmp_path)
    for key, (_, value, _) in OVERRIDES.items():
        apply_overrides(str(path), [override(key)])
        assert value_of(tmp_path, key) == value
    assert remarks(path.read_text()) == remarks(SHORT)
    now = asdict(load_params(tmp_path).experiment(EXPERIMENT))
    for key in OVERRIDES:
        *parents, last = key.split(".")
        place, was = now, before.experiment(EXPERIMENT)
        for parent in parents:
            place, was = place[parent], getattr(was, parent)
        place[last] = getattr(was, last)
    assert to_json(now) == to_json(asdict(before.experiment(EXPERIMENT)))
    assert load_params(tmp_path).experiment("other") == before.experiment("other")
    write_images(tmp_path / "mine", "grey", n=20)
    add_experiment(tmp_path, "own", str(tmp_path / "mine"))
    assert load_params(tmp_path).active == ("tiny", "own")


def test_overrides_keep_the_comments_of_the_shipped_file_and_of_what_facets_new_writes(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    shutil.copy(PROJECT / "params.yaml", path)
    write_images(tmp_path / "mine", "grey", n=20)
    add_experiment(tmp_path, "own", str(tmp_path / "mine"))
    before = remarks(path.read_text())
    assert any("nearly black or white" in remark for remark in before)
    own_changes = ("own.model.latent_dims=[5, 2]", "own.train.batch_size=8", "own.seeds=[0]")
    for change in ("digits.init_mog.neighbours=8", *own_changes):
        apply_overrides(str(path), [f"experiments.{change}"])
    assert remarks(path.read_text()) == before
    own = load_params(tmp_path).experiment("own")
    assert (own.model.latent_dims, own.train.batch_size, own.seeds) == ((5, 2), 8, (0,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("+experiments.tiny.train.batchsize=3", "experiments.tiny.train.batchsize is unknown (value 3); legal keys: "),
        ("experiments.tiny.preset=small", "experiments.tiny.preset must be one of black_and_white, convolutional, "),
    ],
)
def test_a_wrong_key_or_preset_is_one_line(tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(SHORT)
    apply_overrides(str(path), [change])
    (tmp_path / "stages").symlink_to(PROJECT / "stages")
    command = (sys.executable, "-m", "pipeline.stages.resolve", EXPERIMENT)
    done = Repository(tmp_path).run(*command, check=False, PYTHONPATH=str(PROJECT))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"resolve: {message}")


@pytest.fixture(scope="module")
def short(template: Repository, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The tiny experiment under DVC, its section short, everything run and committed."""
    made = template.copy(tmp_path_factory.mktemp("short") / "repository")
    (made.root / "params.yaml").write_text(SHORT)
    dvc(made, "repro")
    made.commit("short")
    return made


def dvc(repository: Repository, *arguments: str, path: str = PLAIN_PATH) -> str:
    done = repository.run(
        str(repository.root / ".venv/bin/dvc"),
        *arguments,
        PATH=path,
        DVC_SITE_CACHE_DIR=str(repository.root / ".dvc/site-cache"),
        DVC_NO_ANALYTICS="1",
    )
    return done.stdout + done.stderr


def stages_that_ran(output: str) -> list[str]:
    lines = [line for line in output.splitlines() if line.startswith("Running stage ")]
    return [line.split("'")[1].partition("@")[0] for line in lines]


def test_an_override_runs_the_stages_that_read_it_and_the_others_see_it(short: Repository) -> None:
    """Of all it is asked who would run, and two are run: a real run of each is among the long tests."""
    path = short.root / "params.yaml"
    for key in OVERRIDES:
        apply_overrides(str(path), [override(key)])
    write_resolved(Layout(short.root, EXPERIMENT))
    stale = json.loads(dvc(short, "status", "--json").splitlines()[-1])
    for stage in FROM_PREPROCESS:
        read = {key.partition(".")[0] for key, (_, _, stages) in OVERRIDES.items() if stage in stages}
        found = stale[f"{stage}@{EXPERIMENT}"][0]["changed deps"][f"artifacts/{EXPERIMENT}/params.json"]
        assert {name.partition(".")[0] for name in found} == read
    path.write_text(SHORT)
    keys = ("score.bootstrap", "preprocess.size")  # the images are of that size as they are, so that nothing follows
    arguments = [part for key in keys for part in ("-S", override(key))]
    assert stages_that_ran(dvc(short, "exp", "run", *arguments)) == ["resolve", "preprocess", "score"]
    assert [value_of(short.root, key) for key in keys] == [7, (8, 8)]
    assert remarks(path.read_text()) == remarks(SHORT)


@pytest.mark.soak
@pytest.mark.parametrize("key", OVERRIDES)
def test_each_override_runs_what_reads_it_in_a_copy(short: Repository, tmp_path: Path, key: str) -> None:
    repository = short.copy(tmp_path / "repository")
    repository.run("git", "checkout", "--quiet", ".")
    ran = set(stages_that_ran(dvc(repository, "exp", "run", "--temp", "--name", "copy", "-S", override(key))))
    assert repository.run("git", "status", "--porcelain").stdout == ""
    read_by = {"resolve", *OVERRIDES[key][2]}
    follow = {"report"} if "assign" in read_by else set[str]()
    if read_by & {"init_mog", "train"}:
        follow = {"train", "score", "assign", "report"}
    assert read_by <= ran <= read_by | follow
    check_applied(repository, "copy", key)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_overrides_run_from_the_queue(short: Repository, tmp_path: Path) -> None:
    repository = short.copy(tmp_path / "repository")
    repository.run("git", "checkout", "--quiet", ".")
    keys = ("score.bootstrap", "publish.gate.max_share")
    for key in keys:
        dvc(repository, "exp", "run", "--queue", "--name", key.replace(".", "-").replace("_", "-"), "-S", override(key))
    # DVC's worker looks for the program dvc on the path: without it, it waits for ever.
    dvc(repository, "exp", "run", "--run-all", path=f"{repository.root}/.venv/bin:{PLAIN_PATH}")
    assert (repository.root / "params.yaml").read_text() == SHORT
    for key in keys:
        check_applied(repository, key.replace(".", "-").replace("_", "-"), key)


def check_applied(repository: Repository, name: str, key: str) -> None:
    dvc(repository, "exp", "apply", name)
    assert value_of(repository.root, key) == OVERRIDES[key][1]
    assert remarks((repository.root / "params.yaml").read_text()) == remarks(SHORT)
    assert "Data and pipelines are up to date" in dvc(repository, "status")
    repository.run("git", "checkout", "--quiet", "params.yaml", "dvc.lock")


def test_a_python_without_the_packages_is_named_in_one_line(tmp_path: Path) -> None:
    for name in ("pipeline", "stages"):
        (tmp_path / name).symlink_to(PROJECT / name)
    (tmp_path / "bin").mkdir()
    repository = Repository(tmp_path)
    bare = tmp_path / "bin/python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without any installed package
    bare.chmod(0o755)
    done = repository.run("sh", "stages/run", "train", "digits", check=False, FACETS_PYTHON=str(bare))
    assert done.returncode == 7
    assert done.stderr.count("\n") == 1
    assert f"but {sys.executable} lacks torch; run pip install 'facet-pipeline[train]'" in done.stderr
    bare.unlink()
    sh = shutil.which("sh") or "/bin/sh"
    done = repository.run(sh, "stages/run", "train", "digits", check=False, PATH=f"{tmp_path}/bin", FACETS_PYTHON="")
    assert done.returncode == 7
    assert done.stderr == (
        "train: stages need a Python with facet-pipeline[train], but python is none; activate its environment first\n"
    )


def test_shared_sections_are_refused_under_dvc_exp_run(tmp_path: Path) -> None:
    sections = tiny_experiment()
    shared = {"active": ["tiny"], "experiments": {"tiny": sections, "other": {**sections, "train": sections["train"]}}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(shared))
    (tmp_path / "stages").symlink_to(PROJECT / "stages")
    environment = {"DVC_EXP_BASELINE_REV": "0123456", "PYTHONPATH": str(PROJECT)}
    command = (sys.executable, "-m", "pipeline.stages.resolve", EXPERIMENT)
    done = Repository(tmp_path).run(*command, check=False, **environment)
    assert done.returncode == 2
    assert done.stderr.startswith("resolve: params.yaml must be spelled out for dvc exp run")
    assert done.stderr.count("\n") == 1
