import numpy as np
import pytest
import torch

from pipeline.datasets.store.images import ImageStore
from pipeline.paper import swaps as swaps_module
from pipeline.paper.swaps import SwapScore, differing_pairs, swap_score
from tests.evaluation.known import KnownModel, known_images, write_prepared

FIRST, SECOND = np.arange(30) % 3, np.arange(30) // 3 % 2


class Stubborn(KnownModel):
    """Its decoder ignores facet 0 where facet 1 is 0, and writes component 0."""

    def decode(self, latents):
        first, second = latents
        return super().decode([torch.where(second > 0.5, first, 0.0), second])


@pytest.fixture
def store(tmp_path):
    write_prepared(tmp_path, {"test": known_images(FIRST, SECOND)}, {})
    with ImageStore(tmp_path / "test.h5") as opened:
        yield opened


def test_a_perfect_model_changes_one_facet_alone(store, monkeypatch):
    monkeypatch.setattr(swaps_module, "_BLOCK", 7)
    found = swap_score(KnownModel(), store, [FIRST, SECOND], facet=0, n_pairs=20)
    assert found == SwapScore(40, 1.0, 1.0, {"facet_1": 1.0}, {"facet_0": 1.0, "facet_1": 1.0})


def test_counts_by_hand(store):
    # Of each pair one image has facet 1 = 1 and its exchange works; the other decodes to component 0 of facet 0.
    pairs = differing_pairs([FIRST, SECOND], 0, 50)
    changed, arrived, same = [], [], []
    for a, b in np.concatenate([pairs, pairs[:, ::-1]]):
        after = int(FIRST[b]) if SECOND[a] else 0
        changed.append(after != FIRST[a])
        arrived.append(after == FIRST[b])
        same.append(bool(SECOND[a]) or int(FIRST[a]) == 0)
    found = swap_score(Stubborn(), store, [FIRST, SECOND], facet=0, n_pairs=50)
    assert found is not None
    assert (found.changed, found.arrived) == (np.mean(changed), np.mean(arrived))
    assert found.reconstructed == {"facet_0": np.mean(same), "facet_1": 1.0}
    assert found.kept == {"facet_1": 1.0}
    assert found.arrived < 0.9


def test_pairs_differ_in_every_facet_that_can_differ():
    pairs = differing_pairs([FIRST, SECOND, np.zeros(30, int)], 1, 40)
    assert len(pairs) == len({tuple(pair) for pair in pairs.tolist()}) == 40
    assert (FIRST[pairs[:, 0]] != FIRST[pairs[:, 1]]).all()
    assert (SECOND[pairs[:, 0]] != SECOND[pairs[:, 1]]).all()


def test_a_facet_with_one_cluster_has_no_score(store):
    assert swap_score(KnownModel(), store, [np.zeros(30, int), SECOND], facet=0, n_pairs=5) is None


def test_a_single_facet_has_nothing_to_keep(store):
    found = swap_score(KnownModel(n_components=(3,)), store, [FIRST], facet=0, n_pairs=5)
    assert found is not None
    assert (found.kept, found.arrived) == ({}, 1.0)
