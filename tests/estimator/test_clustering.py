import pickle
import re

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from pipeline import MultiFacetClustering
from pipeline.core.errors import ModelError

# A few steps on sixty images leave facets that tell nothing apart; what is tested here does not need them.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N, SIDE = 60, 6
RNG = np.random.default_rng(0)


def bright_halves(n=N, channels=()):
    """Two facets: which half is bright, and whether it is the upper or the left one."""
    images = RNG.integers(0, 40, (n, SIDE, SIDE, *channels), dtype=np.uint8)
    half, upper = RNG.integers(0, 2, (2, n)).astype(bool)
    for image, low, is_upper in zip(images, half, upper, strict=True):
        part = slice(SIDE // 2, None) if low else slice(None, SIDE // 2)
        image[part if is_upper else (slice(None), part)] = 220
    return images, half + 2 * upper


def make(**parameters):
    quick = {"hidden": ((16,), (16,)), "epochs": 2, "n_seeds": 2, "refit": True, "random_state": 0, "device": "cpu"}
    return MultiFacetClustering((4, 3), (2, 3), **{**quick, **parameters})


@pytest.fixture(scope="module")
def images():
    return bright_halves()[0]


@pytest.fixture(scope="module")
def model(images):
    return make().fit(images)


@pytest.mark.no_shapes
def test_it_finds_planted_clusters():
    images, kind = bright_halves(240)
    labels = make(epochs=12, batch_size=16, learning_rate=5e-3, n_seeds=1).fit(images).labels_
    right = [sum(np.bincount(kind[one == c]).max() for c in np.unique(one)) / len(kind) for one in labels.T]
    assert max(right) > 0.65  # four kinds, at most four clusters; by chance about 0.3


def test_it_stays_on_the_device_asked_for_where_there_is_another(images, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert make(device="cpu", epochs=1, n_seeds=1).fit(images).model_.device == torch.device("cpu")


def test_features_that_differ_by_little_of_the_arrays_range_are_told_apart():
    rows = RNG.uniform(0.0, 1.0, (N, 8))
    rows[:, 0] *= 1000.0
    model = make(epochs=1, n_seeds=1).fit(rows)
    pair = rows[[0, 0]]
    pair[1, 1] += 0.5
    one, other = model.transform(pair)
    assert not np.array_equal(one, other)


def test_shapes_and_types(model, images):
    assert model.predict(images).shape == (N, 2)
    assert model.predict(images).dtype == np.int64
    resp = model.predict_proba(images)
    assert [one.shape for one in resp] == [(N, 4), (N, 3)]
    for one in resp:
        np.testing.assert_allclose(one.sum(1), 1, rtol=1e-12)
    assert model.transform(images).shape == (N, 5)
    assert model.get_feature_names_out().tolist() == [
        *("facet0_latent0", "facet0_latent1", "facet1_latent0", "facet1_latent1", "facet1_latent2")
    ]


def test_labels_are_the_most_probable_components(model, images):
    np.testing.assert_array_equal(model.labels_, model.predict(images))
    for facet, resp in enumerate(model.predict_proba(images)):
        np.testing.assert_array_equal(model.labels_[:, facet], resp.argmax(1))


def test_a_row_does_not_depend_on_the_rows_beside_it(model, images):
    order = RNG.permutation(N)
    for whole, moved in zip(model.predict_proba(images), model.predict_proba(images[order]), strict=True):
        np.testing.assert_allclose(moved, whole[order], rtol=0, atol=1e-10)
    np.testing.assert_allclose(model.transform(images[:1]), model.transform(images)[:1], rtol=0, atol=1e-10)


def test_rows_of_features_are_the_same_images(model, images):
    flat = make().fit(images.reshape(N, -1))
    np.testing.assert_array_equal(flat.labels_, model.labels_)


def test_the_same_random_state_gives_the_same_model(model, images):
    again = clone(model).fit(images)
    np.testing.assert_array_equal(again.transform(images), model.transform(images))


def test_the_kept_seed_leaves_least_doubt_of_equals(model):
    assert len(model.outcomes_) == 2
    assert all(one.is_healthy == model.outcomes_[0].is_healthy for one in model.outcomes_)
    kept = min(model.outcomes_, key=lambda one: one.doubt)
    assert model.elbo_ == kept.validation_elbo
    assert model.history_[-1]["elbo"] == model.elbo_


def test_the_score_is_the_bound_of_held_out_images(images):
    everything = make(validation_fraction=0.0)
    np.testing.assert_array_equal(everything.fit_predict(images), everything.labels_)
    assert everything.score(images) == pytest.approx(everything.elbo_, rel=0.02)  # other draws for each image
    assert everything.score(images[:1]) == everything.score(images[:1], np.zeros(1))


def test_it_survives_pickling(model, images):
    again = pickle.loads(pickle.dumps(model))  # noqa: S301 - our own bytes
    np.testing.assert_array_equal(again.predict(images), model.predict(images))


def test_threads_and_the_global_random_state_are_left_alone(images):
    state, n_threads = torch.get_rng_state(), torch.get_num_threads()
    np_state = np.random.get_state()[1].copy()  # noqa: NPY002 - the old generator is the global one
    make(epochs=1, n_seeds=1).fit(images)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == n_threads
    np.testing.assert_array_equal(np.random.get_state()[1], np_state)  # noqa: NPY002


def test_samples_look_like_training_images(model):
    one = model.sample(facet=1, component=2, n_samples=5, temperature=0.5)
    assert one.shape == (5, SIDE, SIDE)
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, model.sample(facet=1, component=2, n_samples=5, temperature=0.5))


def test_a_swap_of_an_image_with_itself_changes_nothing(model, images):
    one, other = model.swap(images[:3], images[:3], facet=0)
    np.testing.assert_array_equal(one, other)
    one, other = model.swap(images[:3], images[3:6], facet=0)
    back, _ = model.swap(images[3:6], images[:3], facet=1)  # facet 1 of the first, all else of the second
    np.testing.assert_array_equal(one, back)
    assert one.shape == other.shape == (3, SIDE, SIDE)


@pytest.mark.parametrize(
    ("family", "hidden"), [("convolutional", ((4,), (4,))), ("shared", ((8, 8),))], ids=["convolutional", "shared"]
)
def test_other_families_and_colour(family, hidden):
    images, _ = bright_halves(30, channels=(3,))
    found = make(family=family, hidden=hidden, covariance="full", epochs=1, n_seeds=1).fit(images)
    assert found.predict(images).shape == (30, 2)
    assert found.sample(facet=0, component=0).shape == (1, SIDE, SIDE, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, x: model.predict(x[:, :3]), r"shape of the training images, \(n, 6, 6\), got \(60, 3, 6\)"),
        (lambda model, x: model.sample(facet=2, component=0), "facet must lie in 0 … 1, got 2"),
        (lambda model, x: model.sample(facet=1, component=3), "component must lie in 0 … 2 for facet 1, got 3"),
        (lambda model, x: model.sample(facet=0, component=0, temperature=0.0), "must be positive, got 1 and 0.0"),
        (lambda model, x: model.swap(x[:2], x[:3], facet=0), "same number of images, got 2 and 3"),
        (lambda model, x: make(n_seeds=0).fit(x), "n_seeds must be a whole number from 1 on, got 0"),
        (lambda model, x: make(n_seeds=1.5).fit(x), "n_seeds must be a whole number from 1 on, got 1.5"),
        (lambda model, x: make().fit(x[:3]), "at most the number of images trained on, got 4 for 3"),
        (lambda model, x: make(family="convolutional").fit(x.reshape(N, -1)), "family convolutional needs images"),
    ],
)
def test_what_breaks_a_rule_is_refused(model, images, call, message):
    with pytest.raises(ValueError, match=message):
        call(model, images)


def test_an_unfitted_model_says_so(images):
    with pytest.raises(NotFittedError):
        make().sample(facet=0, component=0)


def test_a_collapsed_model_is_kept_with_a_warning():
    with pytest.warns(ConvergenceWarning, match="best of collapsed models") as warned:
        found = make(epochs=1, n_seeds=1).fit(np.full((20, SIDE, SIDE), 128, np.uint8))
    assert found.labels_.shape == (20, 2)
    assert keys_of_files(str(warned[0].message)) == []


def test_no_finite_model_is_an_error(images, caplog):
    with pytest.raises(ModelError, match=r"got none .*not finite") as refused:
        make(learning_rate=1e30, n_seeds=1, component_std=4e-3).fit(images)
    assert "a component_std of" in caplog.text
    assert keys_of_files(caplog.text + str(refused.value)) == []


def keys_of_files(text):
    """Keys of params.yaml in a message; who holds an estimator has no such file."""
    return re.findall(r"\b(?:model|init_mog|train)\.[a-z_]+\b(?!:)", text)
