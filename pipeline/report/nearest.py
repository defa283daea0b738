"""Pictures of decoded features, which are none: those of the nearest real images."""

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

_BLOCK = 1024


class Nearest:
    """Finds the image whose features are nearest, each feature in units of its standard deviation over the images.

    Args:
        features: of the images.
        pictures: of them.

    Attributes:
        drawn: by sheet, the places of the images drawn in it, in order.
    """

    def __init__(
        self, features: Float32[np.ndarray, "image *shape"], pictures: UInt8[np.ndarray, "image channel height width"]
    ) -> None:
        flat = features.reshape(len(features), -1)
        deviation = flat.std(axis=0, dtype=np.float64).astype(np.float32)
        self._scale = np.where(deviation > 0, deviation, np.float32(1))
        self._points = flat / self._scale
        self._lengths = (self._points**2).sum(axis=1)
        self._pictures = pictures
        self.drawn: dict[str, list[int]] = {}

    def find(self, features: Float[np.ndarray, "sample feature"]) -> Int[np.ndarray, " sample"]:
        """Return the place of the nearest image for each row of features."""
        points = features.astype(np.float32) / self._scale
        places = [
            (self._lengths - 2 * points[start : start + _BLOCK] @ self._points.T).argmin(axis=1)
            for start in range(0, len(points), _BLOCK)
        ]
        return np.concatenate([np.empty(0, np.int64), *places])

    def draw(self, sheet: str, decoded: Float[np.ndarray, "*batch 1 1 feature"]) -> UInt8[np.ndarray, "*batch _ _ _"]:
        """Return the picture of the nearest image for everything that was decoded, next in a sheet."""
        places = self.find(decoded.reshape(-1, decoded.shape[-1]))
        self.drawn.setdefault(sheet, []).extend(places.tolist())
        return self._pictures[places].reshape(*decoded.shape[:-3], *self._pictures.shape[1:])
