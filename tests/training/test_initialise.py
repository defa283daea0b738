"""Stage init_mog on a prepared split of 60 images."""

import json
import logging
import re
from dataclasses import replace
from importlib import import_module

import pytest
import torch

from pipeline.core.errors import DataError, ModelError, ResourceError
from pipeline.core.layout import Layout
from pipeline.mixture.initial import encode_means, init_mixtures
from pipeline.model import MultiFacetVae
from pipeline.model.checkpoint import load_weights, seed_state, weights_path
from pipeline.training import initialise
from pipeline.training.images import load_training_images
from pipeline.training.network_init import init_network
from tests.model.builders import SPEC, TINY
from tests.training.builders import INIT, assert_same_state
from tests.training.prepared import prepare


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    layout = Layout(tmp_path_factory.mktemp("root"), "tiny")
    prepare(layout)
    initialise(layout, (3, 5), TINY, INIT, "cpu")
    return layout


def loaded(layout, seed):
    model = MultiFacetVae(TINY, SPEC)
    load_weights(model, 0, weights_path(layout.artifact("init"), seed))
    return model


def test_a_seeds_file_is_its_network_and_the_mixture_of_that_networks_latents(layout):
    images = load_training_images(layout.prepared / "train.h5", 0.0, torch.device("cpu")).source.gather(
        torch.arange(60)
    )
    model = MultiFacetVae(TINY, SPEC)
    init_network(model, [5], images.float() / 255)
    init_mixtures(model, [5], encode_means(model, [images]), INIT)
    assert_same_state(seed_state(loaded(layout, 5), 0), seed_state(model, 0))


def test_seeds_started_side_by_side_are_the_same(layout, tmp_path, monkeypatch):
    monkeypatch.setattr(import_module("pipeline.training.initialise"), "fits_at_once", lambda: 2)
    other = Layout(tmp_path, "tiny")
    prepare(other)
    initialise(other, (3, 5), TINY, INIT, "cpu")
    for seed in (3, 5):
        assert_same_state(seed_state(loaded(other, seed), 0), seed_state(loaded(layout, seed), 0))
    assert (other.artifact("init") / "init.json").read_text() == (layout.artifact("init") / "init.json").read_text()


def test_seeds_differ(layout):
    one, other = (seed_state(loaded(layout, seed), 0) for seed in (3, 5))
    assert not torch.equal(one["network.output.weight"], other["network.output.weight"])
    assert not torch.equal(one["priors.0.means"], other["priors.0.means"])


def test_how_each_fit_went_is_recorded(layout):
    record = json.loads((layout.artifact("init") / "init.json").read_text())
    assert (record["schema"], record["experiment"], record["input"]) == (2, "tiny", SPEC.describe())
    assert [one["seed"] for one in record["seeds"]] == [3, 5]
    for one in record["seeds"]:
        assert [fit["facet"] for fit in one["fits"]] == [0, 1]
        assert {fit["reg_covar"] for fit in one["fits"]} == {INIT.reg_covar}
        assert all(0 < spread < 1 for spread in one["spread"])


def test_the_same_again_is_the_same_file(layout, tmp_path):
    other = Layout(tmp_path, "tiny")
    prepare(other)
    initialise(other, (5,), TINY, INIT, "cpu")
    files = [weights_path(one.artifact("init"), 5).read_bytes() for one in (layout, other)]
    assert files[0] == files[1]


@pytest.mark.parametrize("network_init", ["default", "data_dependent"])
def test_a_spread_that_commits_responsibilities_is_warned_about_with_what_helps(tmp_path, caplog, network_init):
    """The advice names a value with which the warning is gone, and never a setting that is in force already."""
    layout, model = Layout(tmp_path, "tiny"), replace(TINY, network_init=network_init)
    prepare(layout)
    with caplog.at_level(logging.WARNING):
        initialise(layout, (3,), model, replace(INIT, component_std=0.004), "cpu")
    assert "seed 3, facet 0: the latents' initial spread is" in caplog.text
    assert ("try model.network_init default" in caplog.text) == (network_init != "default")
    advised = [float(value) for value in re.findall(r"component_std of (\S+) or more leaves them open", caplog.text)]
    assert len(advised) == len(caplog.records)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        initialise(layout, (3,), model, replace(INIT, component_std=max(advised)), "cpu")
    assert not caplog.records


def test_a_subsample_is_regular_and_enough(layout, tmp_path):
    other = Layout(tmp_path, "tiny")
    prepare(other)
    initialise(other, (3,), TINY, replace(INIT, subsample=20), "cpu")
    assert not torch.equal(loaded(layout, 3).prior(0).means, loaded(other, 3).prior(0).means)


def test_more_components_than_images_leave_nothing(tmp_path):
    layout = Layout(tmp_path, "tiny")
    prepare(layout, n=3)
    with pytest.raises(ModelError, match=r"facet 0 needs at least as many training images as components, got 3"):
        initialise(layout, (0,), TINY, INIT, "cpu")
    assert not layout.artifact("init").exists()


def test_without_a_prepared_split(tmp_path):
    with pytest.raises(DataError, match=r"train\.h5"):
        initialise(Layout(tmp_path, "tiny"), (0,), TINY, INIT, "cpu")


def test_images_are_encoded_on_the_device_asked_for(tmp_path, monkeypatch):
    """A processor that is asked for is taken where there is a GPU too; a GPU that is asked for must be there."""
    layout = Layout(tmp_path, "tiny")
    prepare(layout)
    with monkeypatch.context() as patched:
        patched.setattr(torch.cuda, "is_available", lambda: True)
        initialise(layout, (3,), TINY, INIT, "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ResourceError, match=r"^device is cuda, but no CUDA device was found"):
        initialise(layout, (3,), TINY, INIT, "cuda")
