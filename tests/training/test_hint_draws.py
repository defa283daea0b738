import time

import numpy as np
import pytest

from pipeline.core.hints import DIFFERENT, SAME, HintPair, collect_hints
from pipeline.training.hint_draws import draw_hinted, n_drawn
from pipeline.training.schedule import ProgressiveSchedule
from tests.training.builders import TRAIN

BOTH = next(ProgressiveSchedule(TRAIN, 1, 2048).chunks())  # 256 steps
DEEP = next(ProgressiveSchedule(TRAIN, 2, 2048).chunks())
UNKNOWN_LABELS = np.full((40_000, 2), -1)


def relations(hints, facet, drawn):
    """Return what is known of the drawn images, two by two."""
    chunklet = hints.chunklets[facet][drawn].reshape(len(drawn), -1, 2)
    return hints.relations[facet][chunklet[..., 0], chunklet[..., 1]]


def labelled(*facets):
    return collect_hints(np.array(facets).T)


def test_a_step_sees_all_hinted_images_where_it_can():
    hints = labelled([0, -1, 0, 1, 1])
    assert n_drawn(hints, 96) == n_drawn(hints, 4) == 4
    drawn = draw_hinted(3, BOTH, hints, 4)
    np.testing.assert_array_equal(drawn, np.tile(np.arange(4), (BOTH.n_steps, 1)))


def test_draws_are_a_pure_function_of_seed_and_chunk():
    hints = labelled(np.arange(200) % 7)
    first, second = list(ProgressiveSchedule(TRAIN, 1, 24).chunks())[:2]
    one = draw_hinted(0, first, hints, 96)
    assert one.shape == (first.n_steps, 96)
    np.testing.assert_array_equal(one, draw_hinted(0, first, hints, 96))
    assert (one != draw_hinted(0, second, hints, 96)).any()
    assert (one != draw_hinted(1, first, hints, 96)).any()


def test_every_hinted_image_is_drawn_and_same_and_different_pairs_as_often():
    hints = labelled(np.arange(200) % 7)
    drawn = draw_hinted(0, BOTH, hints, 96)
    known = relations(hints, 0, drawn)
    assert set(drawn.flatten()) == set(range(200))
    assert (drawn[:, ::2] != drawn[:, 1::2]).all()
    assert (known == SAME).mean() == pytest.approx(0.5, abs=0.02)
    assert (known == DIFFERENT).mean() == pytest.approx(0.5, abs=0.02)
    counts = np.bincount(drawn.flatten(), minlength=200)
    assert counts.max() < 1.5 * counts.mean()


def test_of_hints_in_pairs_both_ends_are_drawn():
    """Of 4000 images in 1000 same and 1000 different pairs, and of more that are known to be alone."""
    pairs = [HintPair(10 * i, 10 * i + 1, 1, is_same=i % 2 == 0) for i in range(2000)]
    hints = collect_hints(UNKNOWN_LABELS, pairs)
    known = relations(hints, 1, draw_hinted(0, DEEP, hints, 96))
    assert (known != 0).all()
    assert 0.4 < (known == SAME).mean() < 0.6


@pytest.mark.parametrize("is_same", [True, False])
def test_pairs_of_one_kind_alone(is_same):
    pairs = [HintPair(10 * i, 10 * i + 1, 0, is_same) for i in range(60)]
    hints = collect_hints(UNKNOWN_LABELS, pairs)
    known = relations(hints, 0, draw_hinted(0, BOTH, hints, 96))
    assert (known == (SAME if is_same else DIFFERENT)).all()


def test_facets_that_take_part_have_equal_shares():
    """Ten labels in facet 0 count as much as a thousand in facet 1; what waits is not drawn."""
    shallow, deep = np.full(1010, -1), np.full(1010, -1)
    shallow[:10], deep[10:] = np.arange(10) % 2, np.arange(1000) % 3
    hints = labelled(shallow, deep)
    both = draw_hinted(0, BOTH, hints, 90)
    assert ((both < 10).sum(1) == 46).all()
    assert (draw_hinted(0, DEEP, hints, 90) >= 10).all()


@pytest.mark.no_shapes
def test_ten_thousand_hints_are_drawn_in_no_time():
    hints = labelled(np.arange(10_000) % 20, np.arange(10_000) % 33)
    start = time.process_time()
    draw_hinted(0, BOTH, hints, 96)
    assert time.process_time() - start < 0.2
