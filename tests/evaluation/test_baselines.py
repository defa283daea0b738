import numpy as np
import pytest
from scipy.stats import bootstrap

from pipeline.datasets.store.images import ImageStore
from pipeline.evaluation import baselines as baselines_module
from pipeline.evaluation.baselines import fit_baselines, fit_pixels, paired_bootstrap, predict_split
from tests.evaluation.known import write_prepared


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    """Three well separated groups of 2×2 images, and the group of each."""
    rng = np.random.default_rng(0)
    group = rng.permutation(np.arange(60) % 3)
    centres = np.array([[20, 20, 200, 200], [200, 20, 20, 200], [200, 200, 200, 20]])
    images = (centres[group] + rng.integers(-15, 16, (60, 4))).astype(np.uint8).reshape(60, 1, 2, 2)
    folder = tmp_path_factory.mktemp("blobs")
    write_prepared(folder, {"train": images}, {})
    with ImageStore(folder / "train.h5") as store:
        yield store, images, group


def test_draws_without_repetition_and_scales_to_the_unit_interval(blobs, monkeypatch):
    store, images, _ = blobs
    everything = images.reshape(60, -1) / np.float32(255)
    np.testing.assert_allclose(fit_pixels(store, 1000), everything, rtol=1e-6)
    some = fit_pixels(store, 7)
    assert len(np.unique(some, axis=0)) == 7
    assert all((np.abs(everything - row).max(axis=1) < 1e-6).any() for row in some)
    monkeypatch.setattr(baselines_module, "_FIT_BYTES", 4 * 4 * 5)
    assert fit_pixels(store, 7).shape == (5, 4)


def test_both_find_separated_groups(blobs):
    store, _, group = blobs
    fitted = fit_baselines(fit_pixels(store, 1000), 3)
    assert [baseline.name for baseline in fitted] == ["kmeans", "mixture"]
    for ids in predict_split(fitted, store):
        assert len(set(zip(ids.tolist(), group.tolist(), strict=True))) == 3


def test_more_clusters_than_distinct_images_is_no_warning(blobs):
    pixels = np.repeat(np.eye(2, 4, dtype=np.float32), 4, axis=0)
    for baseline in fit_baselines(pixels, 3):
        assert len(set(baseline.predict(pixels).tolist())) <= 3


def test_bootstrap_agrees_with_scipy():
    rng = np.random.default_rng(0)
    model, baseline = rng.random(400) < 0.8, rng.random(400) < 0.7
    found = paired_bootstrap(model, baseline, 20_000)
    paired = bootstrap(
        ((model.astype(float) - baseline),), np.mean, n_resamples=20_000, method="percentile", rng=1
    ).confidence_interval
    assert found.mean == pytest.approx(model.mean() - baseline.mean())
    assert (found.low, found.high) == pytest.approx((paired.low, paired.high), abs=0.004)


def test_bootstrap_of_equal_predictions_is_exactly_zero():
    right = np.array([True, False, True])
    found = paired_bootstrap(right, right, 100)
    assert (found.mean, found.low, found.high) == (0, 0, 0)
