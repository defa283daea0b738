from contextlib import nullcontext

import numpy as np

from pipeline.datasets.store.images import ImageStore
from pipeline.evaluation import clusters as clusters_module
from pipeline.evaluation.clusters import cluster_split, image_blocks
from tests.evaluation.known import KnownModel, known_images, write_prepared


class CountingBar:
    def __init__(self):
        self.n = 0

    def advance(self, n=1, note=""):
        self.n += n


def test_blocks_cover_the_store_in_order(tmp_path, monkeypatch):
    images = known_images(np.arange(11) % 3, np.arange(11) % 2)
    write_prepared(tmp_path, {"train": images}, {})
    monkeypatch.setattr(clusters_module, "_BLOCK_BYTES", 6 * 4)
    with ImageStore(tmp_path / "train.h5") as store:
        rows, blocks = zip(*image_blocks(store), strict=True)
        assert [(r.start, r.stop) for r in rows] == [(0, 4), (4, 8), (8, 11)]
        np.testing.assert_array_equal(np.concatenate([block.numpy() for block in blocks]), images)


def test_reads_both_assigners_and_the_confidence(tmp_path, monkeypatch):
    first, second = np.array([2, 0, 1, 1, 2]), np.array([0, 1, 1, 0, 0])
    write_prepared(tmp_path, {"train": known_images(first, second, confidence=80)}, {})
    monkeypatch.setattr(clusters_module, "_BLOCK_IMAGES", 2)
    bar = CountingBar()
    with ImageStore(tmp_path / "train.h5") as store, nullcontext(bar):
        facets = cluster_split(KnownModel(shift=1), store, bar)
    assert bar.n == 5
    np.testing.assert_array_equal(facets[0].cluster_id, first)
    np.testing.assert_array_equal(facets[0].cluster_id_at_mean, (first + 1) % 3)
    np.testing.assert_array_equal(facets[1].cluster_id, second)
    np.testing.assert_allclose(facets[1].confidence, 0.8, rtol=1e-6)
    assert [facet.n_components for facet in facets] == [3, 2]
