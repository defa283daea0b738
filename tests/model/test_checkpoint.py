import json
from dataclasses import asdict, dataclass, field, replace

import pytest
import torch

from pipeline.config.sections import ModelParams
from pipeline.core import upgrades
from pipeline.core.errors import DataError, ModelError, ResourceError
from pipeline.core.upgrades import PARAMETERS
from pipeline.model import checkpoint, load_model
from pipeline.model.checkpoint import load_weights, model_version, restore_model, save_weights, seed_state, weights_path
from tests.model.builders import SHAPE, TINY, random_images, random_model, solo

VERSION = model_version(seed_state(random_model(n_seeds=2, dtype=torch.float32), 1), TINY)


@pytest.fixture
def folder(tmp_path):
    """A model folder with the seeds 3 and 4; 4 is selected."""
    model = random_model(n_seeds=2, dtype=torch.float32)
    for index, seed in enumerate((3, 4)):
        save_weights(weights_path(tmp_path, seed), seed_state(model, index))
    describe(tmp_path)
    return tmp_path


def describe(folder, **changes):
    description = {
        "schema": 1,
        "experiment": "tiny",
        "model_version": VERSION,
        "selected_seed": 4,
        "model": asdict(TINY),
        "image_shape": list(SHAPE),
        "seeds": [{"seed": 3}, {"seed": 4}],
    }
    (folder / "model.json").write_text(json.dumps({**description, **changes}))


@pytest.mark.parametrize(("seed", "index", "version"), [(None, 1, VERSION), (3, 0, f"{VERSION}/seed-3")])
def test_saved_and_loaded_gives_the_same_responsibilities_bit_for_bit(folder, seed, index, version):
    trained = solo(random_model(n_seeds=2, dtype=torch.float32), index).eval()
    images = (random_images(n=20, dtype=torch.float32)[0] * 255).byte()
    loaded = load_model(folder, seed)
    with torch.no_grad():
        posteriors = trained.encode((images.float() / 255)[None])
        for facet, (mine, theirs) in enumerate(zip(loaded.encode(images), posteriors, strict=True)):
            assert torch.equal(loaded.log_resp(facet, mine), trained.prior(facet).exact_log_resp(theirs)[0])
    assert loaded.model_version == version
    assert loaded.params == TINY


def test_a_state_has_no_seed_axis_and_shares_no_memory():
    model = random_model(n_seeds=2)
    state = seed_state(model, 1)
    assert state["priors.0.means"].shape == (4, 2)
    before = state["priors.0.means"].clone()
    with torch.no_grad():
        model.prior(0).means.zero_()
    assert torch.equal(state["priors.0.means"], before)


def test_the_version_follows_weights_and_parameters():
    state = seed_state(random_model(), 0)
    version = model_version(state, TINY)
    assert version == model_version(dict(reversed(state.items())), TINY)
    assert version.startswith("m-")
    assert len(version) == 14
    changed = {**state, "priors.1.means": state["priors.1.means"] + 1e-9}
    assert len({version, model_version(changed, TINY), model_version(state, replace(TINY, sigma=0.71))}) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {**asdict(TINY), "depth": 3}}, r"no model section of this version: model\.depth is unknown"),
        ({"model": {**asdict(TINY), "sigma": -1.0}}, r"model\.sigma must lie in \(0, inf\), got -1\.0"),
        ({"image_shape": [1, 4, 4]}, r"weight is \(7, 12\) instead of \(7, 16\); it was trained with other parameters"),
        ({"model": asdict(replace(TINY, n_components=(5, 3)))}, r"instead of \(5,"),
        ({"model": asdict(replace(TINY, covariance=("full", "full")))}, r"raw_scale_tril is None instead of"),
        ({"selected_seed": 9}, r"seed 9 must be one of \[3, 4\]"),
        ({"seeds": [{"seed": 4}, {"seed": 8}], "selected_seed": 8}, r"seed-8\.safetensors must be a weights file, but"),
    ],
)
def test_foreign_folders_are_refused(folder, changes, message):
    describe(folder, **changes)
    with pytest.raises(ModelError, match=message):
        load_model(folder)


@pytest.mark.parametrize("content", [b"", b"\x00" * 40, b"not tensors at all, far from it"])
def test_damaged_weights_are_refused(folder, content):
    weights_path(folder, 4).write_bytes(content)
    with pytest.raises(ModelError, match=r"seed-4\.safetensors must be a weights file, but .*; run the stage"):
        load_model(folder)


def test_weights_with_a_flipped_bit_are_refused_and_so_is_another_model_section(folder):
    path = weights_path(folder, 4)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f"must hold the weights of model {VERSION}, but .*run facets check --repair"):
        load_model(folder)
    content[-1] ^= 1
    path.write_bytes(content)
    describe(folder, model=asdict(replace(TINY, sigma=0.71)))
    with pytest.raises(ModelError, match=f"must hold the weights of model {VERSION}"):
        load_model(folder)


def test_truncated_weights_are_refused(folder):
    path = weights_path(folder, 4)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ModelError, match=r"must be a weights file, but"):
        load_model(folder)


@pytest.mark.parametrize(("text", "message"), [(None, "is missing; run the stage"), ("{", "must be JSON, but")])
def test_missing_and_broken_descriptions(folder, text, message):
    path = folder / "model.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(DataError, match=message):
        restore_model(folder, None)


@pytest.mark.parametrize("text", ["[]", '"model"', "{}"])
def test_a_description_of_another_kind(folder, text):
    (folder / "model.json").write_text(text)
    with pytest.raises(DataError, match=r"model\.json must (hold a JSON object|state its schema), .*got"):
        restore_model(folder, None)


def test_a_description_of_a_newer_release_is_refused_with_what_to_do(folder):
    describe(folder, schema=99)
    with pytest.raises(ResourceError, match=r"model\.json must be of schema \d or an older one, got 99, which a newer"):
        load_model(folder)


@dataclass(frozen=True)
class LaterParams(ModelParams):
    """The model section of a later release, with one key more."""

    gain: float = field(kw_only=True)


def test_a_later_release_with_a_key_more_loads_the_same_model_under_the_same_name(folder, monkeypatch):
    before = load_model(folder)
    monkeypatch.setattr(checkpoint, "ModelParams", LaterParams)
    with pytest.raises(ModelError, match=r"no model section of this version: model\.gain is missing"):
        load_model(folder)

    def with_gain(params):
        return upgrades._with_changed(params, "model", lambda model: {**model, "gain": 1.0})

    monkeypatch.setattr(upgrades, "PARAMETERS", replace(PARAMETERS, steps=(*PARAMETERS.steps, with_gain)))
    after = load_model(folder)
    images = (random_images(n=20, dtype=torch.float32)[0] * 255).byte()
    for mine, theirs in zip(before.assign(images), after.assign(images), strict=True):
        assert (mine.cluster_id == theirs.cluster_id).all()
        assert (mine.typicality == theirs.typicality).all()
    assert after.params == LaterParams(**asdict(TINY), gain=1.0)
    assert after.model_version == before.model_version


def test_a_refused_file_leaves_the_model_as_it_was(folder):
    model = random_model(replace(TINY, n_components=(5, 3)), dtype=torch.float32)
    before = seed_state(model, 0)
    with pytest.raises(ModelError):
        load_weights(model, 0, weights_path(folder, 3))
    assert all(torch.equal(value, before[name]) for name, value in seed_state(model, 0).items())
