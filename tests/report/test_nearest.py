"""What a model makes of features is shown as the nearest real image, by the latents of all facets alike."""

import numpy as np
from sklearn.neighbors import NearestNeighbors

from pipeline.report.nearest import Nearest

_RNG = np.random.default_rng(0)
PICTURES = np.arange(60, dtype=np.uint8).repeat(12).reshape(60, 3, 2, 2)


def latents(n_rows: int) -> list[np.ndarray]:
    """One facet a thousand times as wide as the next, one that says nothing."""
    return [1000 * _RNG.normal(size=(n_rows, 3)), _RNG.normal(size=(n_rows, 2)), np.zeros((n_rows, 1))]


IMAGES = latents(60)


def test_the_nearest_image_is_that_in_units_of_each_facets_deviation() -> None:
    asked = latents(6)
    nearest = Nearest(IMAGES, PICTURES)
    shown = nearest.draw("generated", asked)
    assert shown.shape == (6, 3, 2, 2)
    scales = [max(1e-9, z.var(axis=0).sum() ** 0.5) for z in IMAGES]
    of_images, of_asked = (np.hstack([z / s for z, s in zip(of, scales, strict=True)]) for of in (IMAGES, asked))
    expected = NearestNeighbors(n_neighbors=1).fit(of_images).kneighbors(of_asked)[1].ravel().tolist()
    assert shown.reshape(6, -1)[:, 0].tolist() == expected == nearest.drawn["generated"]


def test_an_image_is_nearest_to_itself_and_places_follow_each_other() -> None:
    nearest = Nearest(IMAGES, PICTURES)
    nearest.draw("swaps", [z[7:9] for z in IMAGES])
    nearest.draw("swaps", [z[3:4] for z in IMAGES])
    assert nearest.drawn == {"swaps": [7, 8, 3]}
