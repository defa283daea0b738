import numpy as np
import pytest

from pipeline.datasets.store.images import ImageStore
from pipeline.evaluation.labels import read_factors
from pipeline.paper.probes import probe_accuracy, probe_table, sampled_latents
from tests.evaluation.known import KnownModel, known_images, write_prepared


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Facet 0 decides the factor ``shape``; facet 1 is independent of it."""
    folder = tmp_path_factory.mktemp("probes")
    rng = np.random.default_rng(0)
    shape = {"train": rng.integers(0, 3, 400), "test": rng.integers(0, 3, 60)}
    images = {split: known_images(ids, rng.integers(0, 2, len(ids))) for split, ids in shape.items()}
    write_prepared(folder, images, {"shape": shape})
    with ImageStore(folder / "train.h5") as train, ImageStore(folder / "test.h5") as test:
        yield train, test, read_factors(folder, train, test)


def test_reads_the_factor_from_its_own_facet_alone(stores):
    train, test, factors = stores
    found = probe_table(KnownModel(), train, test, factors, runs=2)["shape"]
    assert list(found) == ["facet_0", "facet_1", "all"]
    assert found["facet_0"].mean == found["all"].mean == 1.0
    assert found["facet_0"].std == 0.0
    assert found["facet_1"].mean < 0.6
    frequent = np.bincount(factors["shape"].train).argmax()
    assert found["facet_1"].chance == np.mean(factors["shape"].test == frequent)
    assert found["facet_1"].n_runs == 2


def test_a_single_facet_is_not_joined_with_itself(stores):
    train, test, factors = stores
    assert list(probe_table(KnownModel(n_components=(3,)), train, test, factors, runs=1)["shape"]) == ["facet_0"]


def test_latents_are_samples_of_the_posterior(tmp_path):
    n = 4000
    write_prepared(tmp_path, {"test": known_images(np.full(n, 2), np.zeros(n, int), confidence=1)}, {})
    with ImageStore(tmp_path / "test.h5") as store:
        z, other = sampled_latents(KnownModel(), store, 0)
        assert not np.array_equal(z, sampled_latents(KnownModel(), store, 1)[0])
    std = np.exp(-0.5)  # log-variance -1
    assert z.mean() == pytest.approx(2, abs=5 * std / np.sqrt(n))
    assert z.std() == pytest.approx(std, rel=5 / np.sqrt(2 * n))
    assert abs(np.corrcoef(z[:, 0], other[:, 0])[0, 1]) < 5 / np.sqrt(n)


def test_unknown_labels_are_neither_fitted_nor_scored():
    x = np.repeat(np.array([[-5.0], [5.0], [0.0]], np.float32), 40, axis=0)
    label = np.repeat([0, 1, -1], 40)
    assert probe_accuracy(x, label, x, label, 0) == 1.0
