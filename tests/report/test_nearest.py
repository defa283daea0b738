"""What a model makes of features is shown as the nearest real image, however the features are scaled."""

import numpy as np
from sklearn.neighbors import NearestNeighbors

from pipeline.report.nearest import Nearest

_RNG = np.random.default_rng(0)
FEATURES = (_RNG.normal(0, 1, (60, 5)) * [1, 100, 0.01, 5, 0]).astype(np.float32)
PICTURES = np.arange(60, dtype=np.uint8).repeat(12).reshape(60, 3, 2, 2)


def test_the_nearest_image_is_that_in_units_of_standard_deviations() -> None:
    asked = (_RNG.normal(0, 1, (2, 3, 1, 1, 5)) * [1, 100, 0.01, 5, 1]).astype(np.float32)
    nearest = Nearest(FEATURES[:, None, None], PICTURES)
    shown = nearest.draw("generated", asked)
    assert shown.shape == (2, 3, 3, 2, 2)
    deviation = FEATURES.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1)
    expected = NearestNeighbors(n_neighbors=1).fit(FEATURES / scale).kneighbors(asked.reshape(6, 5) / scale)[1].ravel()
    assert shown.reshape(6, -1)[:, 0].tolist() == expected.tolist() == nearest.drawn["generated"]


def test_an_image_is_nearest_to_itself_and_places_follow_each_other() -> None:
    nearest = Nearest(FEATURES[:, None, None], PICTURES)
    nearest.draw("swaps", FEATURES[7:9, None, None])
    nearest.draw("swaps", FEATURES[3:4, None, None])
    assert nearest.drawn == {"swaps": [7, 8, 3]}
