"""What a facet is trained not to see, it does not tell; the other one takes it."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from pipeline import MultiFacetClustering
from tests.estimator.test_hints import IMAGES, IS_LOW, IS_RED

HALVES = IMAGES.transpose(0, 2, 1, 3)  # left and right, which a mirror exchanges


def make(**parameters):
    quick = {"hidden": ((16,), (16,)), "epochs": 30, "batch_size": 16, "sigma": 0.2, "n_seeds": 1, "device": "cpu"}
    return MultiFacetClustering((2, 2), (2, 2), learning_rate=5e-3, random_state=0, **{**quick, **parameters})


def told(model, images):
    """Return how well each facet tells each of two properties."""
    return [[adjusted_rand_score(kind, one) for kind in (IS_LOW, IS_RED)] for one in model.fit(images).labels_.T]


@pytest.mark.no_shapes
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # the other facet may idle
@pytest.mark.parametrize(("ignored", "left"), [({"hue": 180.0}, 0), ({"mirrored": 50.0}, 1)])
def test_the_deep_facet_tells_what_it_may_see(ignored, left):
    """Of place and colour it ignores one, which would be as easy to tell."""
    found = told(make(ignores=(None, ignored)), HALVES)
    assert found[1][left] > 0.8
    assert found[1][1 - left] < 0.1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # one epoch tells nothing apart
def test_nothing_to_ignore_changes_nothing():
    plain = make(epochs=1).fit(IMAGES)
    for nothing in ({"ignores": (None, None)}, {"view_weight": 2.0}):
        np.testing.assert_array_equal(make(epochs=1, **nothing).fit(IMAGES).transform(IMAGES), plain.transform(IMAGES))
    viewed = make(epochs=1, ignores=[None, {"blur": 1}]).fit(IMAGES)  # whole numbers are welcome
    assert not np.array_equal(viewed.transform(IMAGES), plain.transform(IMAGES))


@pytest.mark.parametrize(
    ("ignores", "images", "message"),
    [
        ((None,), IMAGES, r"^ignores needs one entry a facet \(2\) or null, got 1"),
        ((None, {"hue": 20}), IMAGES[..., 0], r"^ignores\[1\].hue needs images of 3 channels, got 1"),
        (
            (None, {"blur": 1}),
            IMAGES.reshape(len(IMAGES), -1),
            r"^ignores\[1\] must be null where inputs are no images",
        ),
    ],
)
def test_what_cannot_be_ignored_is_refused(ignores, images, message):
    with pytest.raises(ValueError, match=message):
        make(ignores=ignores).fit(images)
