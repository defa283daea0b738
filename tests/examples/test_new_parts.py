"""A new ladder, likelihood, stage or command is one new file and one line, and everything else knows it then."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import pipeline.cli
from pipeline.cli import _app
from pipeline.config.dag import stage_names
from pipeline.config.ladders import LADDERS, LadderKind
from pipeline.config.likelihoods import LIKELIHOODS
from pipeline.config.parse import parse
from pipeline.config.sections import ModelParams
from pipeline.core.errors import ConfigError
from pipeline.estimator.settings import model_section
from pipeline.model import FrozenModel, MultiFacetVae, ladders, likelihoods
from pipeline.training import train_in_memory
from tests.cli.calling import Facets
from tests.examples import count
from tests.model.builders import SPEC, TINY
from tests.repository import EXPERIMENT, PROJECT, STAGES, Repository
from tests.training.builders import INIT, TRAIN, phase, uint8_images

EXAMPLES = Path(__file__).parent

STAGE = """
  count:
    desc: how many images and seeds there are
    matrix: {experiment: "${active}"}
    cmd: sh stages/run count ${item.experiment}
    params:
      - artifacts/${item.experiment}/params.json: [seeds]
    deps:
      - data/prepared/${item.experiment}/train.h5
      - pipeline/core/storage.py
      - pipeline/datasets/store
      - stages/count.py
    outs:
      - artifacts/${item.experiment}/count.json
"""


def add_stage(path: Path) -> None:
    """Write the project's ``dvc.yaml`` with the example at the end of its stages."""
    stages, rest = (PROJECT / "dvc.yaml").read_text().split("\n# Top-level plots")
    path.write_text(f"{stages}{STAGE}\n# Top-level plots{rest}")


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ladder and the likelihood as if their files lay where they belong, and their lines in the tables."""
    for package in (ladders, likelihoods):
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(EXAMPLES)])
    monkeypatch.setitem(LADDERS, "separate", LadderKind("separate.Separate"))
    monkeypatch.setitem(LIKELIHOODS, "laplace", "laplace.LaplaceLikelihood")


@pytest.mark.usefixtures("known")
def test_a_new_ladder_and_a_new_likelihood_are_trained_and_assign() -> None:
    params = parse(ModelParams, {**asdict(TINY), "family": "separate", "likelihood": "laplace"}, "model")
    images = uint8_images(40)
    train = replace(TRAIN, phases=(phase(2), phase(2, 0.5)))
    (one,) = train_in_memory(images, SPEC, [0], params, INIT, train, is_verbose=False)
    elbos = [float(row["elbo"]) for row in one.history if row["split"] == "train"]
    assert elbos[-1] > elbos[0]
    model = MultiFacetVae(params, SPEC)
    model.load_state_dict({name: value[None] for name, value in one.state.items()})
    frozen = FrozenModel(model, "m-0123456789ab")
    assert [len(facet.cluster_id) for facet in frozen.assign(images)] == [40, 40]
    decoded = frozen.decode([qz.mean for qz in frozen.encode(images)])
    assert ((decoded >= 0) & (decoded <= 1)).all()


@pytest.mark.usefixtures("known")
def test_parameters_and_estimator_know_them() -> None:
    with pytest.raises(ConfigError, match=r"model\.family must be one of dense, .*separate, got 'sperate'"):
        parse(ModelParams, {**asdict(TINY), "family": "sperate"}, "model")
    with pytest.raises(ConfigError, match=r"model\.likelihood must be one of bernoulli, .*laplace, got 'laplac'"):
        parse(ModelParams, {**asdict(TINY), "likelihood": "laplac"}, "model")
    asked = {"family": "separate", "likelihood": "laplace", "covariance": "full", "sigma": 0.2}
    found = model_section({**asked, "latent_dims": (2, 3), "n_components": 4, "hidden": None})
    assert (found.family, found.hidden) == ("separate", ((256,), (512,)))


@pytest.mark.usefixtures("known")
def test_the_ladder_of_the_example_lets_facets_wait() -> None:
    model = MultiFacetVae(replace(TINY, family="separate"), SPEC)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    (deep,) = model.encode(torch.rand(1, 5, *SPEC.shape), first=1)
    fade_in = torch.tensor([0.0, 1.0])
    alone = model.decode([deep.mean], fade_in)
    both = model.decode([torch.randn(1, 5, 2), deep.mean], fade_in)
    np.testing.assert_allclose(both.detach(), alone.detach(), rtol=1e-5)


def test_a_new_stage_is_known_from_its_entry(tmp_path: Path) -> None:
    add_stage(tmp_path / "dvc.yaml")
    assert stage_names(tmp_path) == (*STAGES, "count")
    with pytest.raises(ConfigError, match=r"dvc\.yaml is missing; run this in the repository's root"):
        stage_names(tmp_path / "nowhere")
    (tmp_path / "dvc.yaml").write_text("stages: [count]\n")
    with pytest.raises(ConfigError, match=r"dvc\.yaml must list the stages, but .*; restore it from git"):
        stage_names(tmp_path)


@pytest.mark.soak
def test_a_new_stage_runs_alone_in_a_rebuild(repository: Repository) -> None:
    shutil.copy(str(count.__file__), repository.root / "stages" / "count.py")
    add_stage(repository.root / "dvc.yaml")
    assert repository.stages_run() == ["count"]
    found = json.loads((repository.root / "artifacts" / EXPERIMENT / "count.json").read_text())
    assert found["n_seeds"] == 2
    assert repository.stages_run() == []
    assert "count" in repository.facets("status").stdout


def test_a_new_command_is_one_file(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    commands = tmp_path / "commands"
    commands.mkdir()
    shutil.copy(EXAMPLES / "where.py", commands)
    monkeypatch.setattr(pipeline.cli, "__path__", [*pipeline.cli.__path__, str(commands)])
    monkeypatch.setattr(_app, "app", _app._build())
    monkeypatch.chdir(PROJECT)
    facets = Facets(monkeypatch, capfd)
    assert "\n  where " in facets("--help").out
    assert facets("where", "digits").out == "published/digits\n"
    assert json.loads(facets("where", "digits", "--json").out) == {"published": "published/digits"}
