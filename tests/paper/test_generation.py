import numpy as np
import pytest
import torch

from pipeline.paper.generation import cluster_samples, model_samples
from tests.evaluation.known import KnownModel


def test_samples_of_a_cluster_have_it_and_vary_in_the_other_facet():
    images = cluster_samples(KnownModel(), 0, [2, 1], 200, temperature=1.0, seed=0)
    assert images.shape == (2, 200, 1, 2, 3)
    assert (images[0, :, 0, 0, 0] == 2).all()
    assert (images[1, :, 0, 0, 0] == 1).all()
    share = images[..., 0, 0, 1].mean()  # the mixing weight of component 1 in facet 1
    assert share == pytest.approx(2 / 3, abs=5 * np.sqrt(2 / 9 / 400))


def test_samples_do_not_depend_on_the_other_clusters():
    model = KnownModel()
    both = cluster_samples(model, 1, [0, 1], 30, temperature=1.0, seed=3)
    np.testing.assert_array_equal(cluster_samples(model, 1, [1], 30, temperature=1.0, seed=3)[0], both[1])
    assert not np.array_equal(cluster_samples(model, 1, [1], 30, temperature=1.0, seed=4)[0], both[1])
    assert cluster_samples(model, 1, [], 30, temperature=1.0, seed=3).shape == (0, 30, 1, 2, 3)


def test_samples_of_the_model_follow_the_mixing_weights():
    blocks = list(model_samples(KnownModel(), 3000, 1.0, seed=0))
    assert [len(block) for block in blocks] == [1024, 1024, 952]
    component = torch.cat(blocks)[:, 0, 0, 0].numpy()
    share = np.bincount(component, minlength=3) / 3000
    np.testing.assert_allclose(share, [1 / 6, 2 / 6, 3 / 6], atol=5 * np.sqrt(0.25 / 3000))
    assert len(np.unique(component[:50])) == 3  # shuffled, not sorted by component
