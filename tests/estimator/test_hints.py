"""Hints of a user: they decide which facet is about what; those that break a rule are refused."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from pipeline import MultiFacetClustering

N, SIDE = 160, 4
RNG = np.random.default_rng(0)


def coloured_halves():
    """Two independent properties: which half is bright, and whether it is red or blue."""
    is_low, is_red = RNG.integers(0, 2, (2, N))
    images = RNG.uniform(0.0, 0.15, (N, SIDE, SIDE, 3))
    for image, low, red in zip(images, is_low, is_red, strict=True):
        image[SIDE // 2 :, :, 2 * red] += 0.7 * low
        image[: SIDE // 2, :, 2 * red] += 0.7 * (1 - low)
    return images, is_low, is_red


IMAGES, IS_LOW, IS_RED = coloured_halves()


def make(n_components=2, **parameters):
    quick = {"hidden": ((16,), (16,)), "epochs": 15, "batch_size": 16, "sigma": 0.2, "n_seeds": 1, "device": "cpu"}
    return MultiFacetClustering(n_components, (2, 2), learning_rate=5e-3, random_state=0, **{**quick, **parameters})


def some(labels, n=6):
    """Return the labels of a few images of each class, -1 for the others."""
    hints = np.full(N, -1)
    for label in (0, 1):
        few = np.flatnonzero(labels == label)[:n]
        hints[few] = label
    return hints


def agreement(model, hinted):
    """Return how well each facet tells both properties in images without hints."""
    free = hinted < 0
    return [[adjusted_rand_score(kind[free], one[free]) for kind in (IS_LOW, IS_RED)] for one in model.labels_.T]


@pytest.mark.no_shapes
@pytest.mark.parametrize("low_facet", [0, 1])
def test_a_few_labels_decide_which_facet_is_about_what(low_facet):
    low, red = some(IS_LOW), some(IS_RED)
    hints = {low_facet: low, 1 - low_facet: red}
    found = agreement(make().fit(IMAGES, hints=hints), np.maximum(low, red))
    np.testing.assert_allclose(found[low_facet], [1, 0], atol=0.1)
    np.testing.assert_allclose(found[1 - low_facet], [0, 1], atol=0.1)


@pytest.mark.no_shapes
def test_clusters_do_not_die_of_hints():
    """There are many more than classes; no fit brings back those that are lost before the latents have formed."""
    hints = {0: some(IS_LOW), 1: some(IS_RED)}
    found = agreement(make(n_components=8, refit=False).fit(IMAGES, hints=hints), np.maximum(*hints.values()))
    np.testing.assert_allclose(found, [[1, 0], [0, 1]], atol=0.1)


@pytest.mark.no_shapes
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # nothing is said of facet 0, which idles
def test_pairs_say_what_labels_say():
    """Of twelve images in a row every two; the colours in facet 1 come from pairs alone."""
    few = np.arange(12)
    pairs = [(a, b, IS_RED[a] == IS_RED[b]) for a in few for b in few if a < b]
    found = agreement(make().fit(IMAGES, pairs={1: pairs}), np.where(np.arange(N) < 12, 0, -1))
    np.testing.assert_allclose(found[1], [0, 1], atol=0.1)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # one epoch tells nothing apart
def test_hints_that_say_nothing_are_none():
    plain = make(epochs=1).fit(IMAGES)
    for nothing in ({"hints": {}, "pairs": {}}, {"hints": None, "pairs": {1: []}}):
        np.testing.assert_array_equal(make(epochs=1).fit(IMAGES, **nothing).transform(IMAGES), plain.transform(IMAGES))
    hinted = make(epochs=1).fit(IMAGES, hints={1: some(IS_RED)})
    assert not np.array_equal(hinted.transform(IMAGES), plain.transform(IMAGES))


LABELS = some(IS_RED)
ONE_ALONE = np.where(np.arange(N) == 7, 5, LABELS)


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        ({2: LABELS}, "hints must be about a facet, 0 … 1, got 2"),
        ({-1: LABELS}, "hints must be about a facet, 0 … 1, got -1"),
        ({"colour": LABELS}, "hints must be about a facet, 0 … 1, got 'colour'"),
        ({0: LABELS[:-1]}, r"one label an image, shape \(160,\), got \(159,\); use -1 where"),
        ({0: LABELS[:, None]}, r"one label an image, shape \(160,\), got \(160, 1\)"),
        ({0: LABELS.astype(float)}, "hints of facet 0 must be integers, -1 where the label is unknown, got float64"),
        ({0: np.where(LABELS > 0, "red", "")}, "must be integers, -1 where the label is unknown, got <U3"),
        ({0: LABELS - 1}, "must be labels from 0 on, or -1, got -2"),
        ({1: np.full(N, -1)}, "hints of facet 1 must label some images, got -1 for all 160"),
        ({1: np.where(LABELS == 1, 1, -1)}, "must be of at least two classes, got 1; one class alone"),
        ({1: ONE_ALONE}, "at least two images of each class, but class 5 has one"),
    ],
)
def test_labels_that_break_a_rule_are_refused(hints, message):
    with pytest.raises(ValueError, match=message):
        make().fit(IMAGES, hints=hints)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ((0, 1), r"pairs of facet 1 must be \(image, image, same or not\), got \(0, 1\)"),
        (3, r"pairs of facet 1 must be \(image, image, same or not\), got 3"),
        ((0, N, True), "pairs of facet 1 must be of two images, numbers from 0 to 159, got 0 and 160"),
        ((0, -1, True), "numbers from 0 to 159, got 0 and -1"),
        ((4, 4, True), "of two images, numbers from 0 to 159, got 4 and 4"),
        ((0, 1.0, True), "got 0 and 1.0"),
        ((0, 1, "yes"), r"must say True \(the same\) or False, got 'yes'"),
    ],
)
def test_pairs_that_break_a_rule_are_refused(pair, message):
    with pytest.raises(ValueError, match=message):
        make().fit(IMAGES, pairs={1: [pair]})


def test_a_facet_of_one_component_has_no_hints():
    with pytest.raises(ValueError, match="must have at least two components, got one for facet 0"):
        MultiFacetClustering((1, 3), (2, 2)).fit(IMAGES, hints={0: LABELS})


def test_contradictions_are_refused():
    same = np.flatnonzero(LABELS == 1)[:2].tolist()
    with pytest.raises(ValueError, match="are to be the same and different in facet 1; take one of these hints back"):
        make().fit(IMAGES, hints={1: LABELS}, pairs={1: [(*same, False)]})


@pytest.mark.no_shapes  # which would refuse it first, where users have none
def test_labels_without_their_facet_are_refused():
    with pytest.raises(ValueError, match="hints must be a dictionary with a facet for each key, got ndarray"):
        make().fit(IMAGES, hints=LABELS)
