"""Pictures of decoded features, which are none: those of the nearest real images."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

_BLOCK = 1024

Latents = Sequence[Float[np.ndarray, "row _"]]
"""Posterior means of some images or features, an array a facet."""


class Nearest:
    """Finds the image whose latents are nearest; each facet counts as much as the others.

    By the features themselves a few images in the middle of all of them would be nearest to nearly everything that a
    model decodes, as that varies far less than images do.

    Args:
        latents: of the images.
        pictures: of them.

    Attributes:
        drawn: by sheet, the places of the images drawn in it, in order.
    """

    def __init__(self, latents: Latents, pictures: UInt8[np.ndarray, "image channel height width"]) -> None:
        deviations = [float(z.var(axis=0, dtype=np.float64).sum()) ** 0.5 for z in latents]
        self._scales = [deviation if deviation > 0 else 1.0 for deviation in deviations]
        self._points = self._joined(latents)
        self._lengths = (self._points**2).sum(axis=1)
        self._pictures = pictures
        self.drawn: dict[str, list[int]] = {}

    def find(self, latents: Latents) -> Int[np.ndarray, " row"]:
        """Return the place of the nearest image for each row of latents."""
        points = self._joined(latents)
        places = [
            (self._lengths - 2 * points[start : start + _BLOCK] @ self._points.T).argmin(axis=1)
            for start in range(0, len(points), _BLOCK)
        ]
        return np.concatenate([np.empty(0, np.int64), *places])

    def draw(self, sheet: str, latents: Latents) -> UInt8[np.ndarray, "row channel height width"]:
        """Return the picture of the nearest image for each row of latents, next in a sheet."""
        places = self.find(latents)
        self.drawn.setdefault(sheet, []).extend(places.tolist())
        return self._pictures[places]

    def _joined(self, latents: Latents) -> Float32[np.ndarray, "row number"]:
        scaled = [z / scale for z, scale in zip(latents, self._scales, strict=True)]
        return np.concatenate(scaled, axis=1).astype(np.float32)
