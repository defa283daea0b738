"""How an array of a user becomes what a model takes, and decoded images become such an array again."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Shaped

from pipeline.core.shapes import Inputs, Pixels
from pipeline.datasets.store.spec import InputSpec


@dataclass(frozen=True)
class PixelScale:
    """Shape and units of the training array.

    Attributes:
        sample_shape: height and width, height, width and channel, or a number of features.
        is_uint8: whether it held bytes.
        low: number that becomes 0.
        high: number that becomes 1 (of images, which are held in bytes, 255).
        is_bounded: whether there is a range at all; rows without one are taken as they are.
    """

    sample_shape: tuple[int, ...]
    is_uint8: bool
    low: float
    high: float
    is_bounded: bool = True

    @classmethod
    def of(
        cls, rows: Shaped[np.ndarray, "image number"], sample_shape: tuple[int, ...], likelihood: str
    ) -> "PixelScale":
        """Read the scale off the training array.

        Raises:
            ValueError: numbers outside [0, 1] under a Bernoulli likelihood.
        """
        if rows.dtype == np.uint8:
            return cls(sample_shape, True, 0.0, 255.0)
        low, high = float(rows.min()), float(rows.max())
        if low >= 0 and high <= 1:
            return cls(sample_shape, False, 0.0, 1.0)
        if likelihood == "bernoulli":
            raise ValueError(
                f"a Bernoulli likelihood needs uint8 or numbers in [0, 1], got {low:g} … {high:g}; "
                "scale X, or use likelihood='gaussian'"
            )
        return cls(sample_shape, False, low, high)

    @classmethod
    def as_they_are(cls, sample_shape: tuple[int, ...]) -> "PixelScale":
        """Return the scale of rows of features that a ladder standardises itself."""
        return cls(sample_shape, False, 0.0, 1.0, is_bounded=False)

    @property
    def spec(self) -> InputSpec:
        """What :meth:`inputs` returns."""
        if len(self.sample_shape) == 1:
            return InputSpec("features", "float32", (1, 1, self.sample_shape[0]), self.is_bounded)
        height, width, n_channels = (*self.sample_shape, 1)[:3]
        return InputSpec.pixels((n_channels, height, width))

    @property
    def _is_own(self) -> bool:
        """Whether the scale came from the numbers rather than from their type."""
        return not self.is_uint8 and (self.low, self.high) != (0.0, 1.0)

    def inputs(self, rows: Shaped[np.ndarray, "image number"]) -> Inputs:
        """Return rows as what a model takes: images as bytes, features as floats in units of the scale.

        Of images, what lies outside the training array's own range is clipped.

        Raises:
            ValueError: numbers outside [0, 1] where training saw none.
        """
        if len(self.sample_shape) == 1:
            return torch.from_numpy(np.ascontiguousarray(self._unit(rows), np.float32)[:, None, None])
        if rows.dtype != np.uint8 or self._is_own:
            rows = np.rint(255 * np.clip(self._unit(rows), 0.0, 1.0)).astype(np.uint8)
        height, width, n_channels = (*self.sample_shape, 1)[:3]
        stacked = rows.reshape(-1, height, width, n_channels).transpose(0, 3, 1, 2)
        return torch.from_numpy(np.ascontiguousarray(stacked))

    def restored(self, pixels: Pixels) -> Shaped[np.ndarray, "image *sample"]:
        """Return images in the shape and units of the training array."""
        values = pixels.cpu().numpy().transpose(0, 2, 3, 1).reshape(-1, *self.sample_shape)
        if self.is_uint8:
            return np.rint(255 * values).clip(0, 255).astype(np.uint8)
        return self.low + values * (self.high - self.low)

    def _unit(self, rows: Shaped[np.ndarray, "image number"]) -> Float[np.ndarray, "image number"]:
        """Return numbers in units of the scale."""
        if not self.is_bounded:
            return rows.astype(np.float32)
        if rows.dtype == np.uint8 and not self._is_own:
            return rows / np.float32(255)
        low, high = (self.low, self.high) if self._is_own else (0.0, 1.0)
        if not self._is_own and not (rows.min() >= 0 and rows.max() <= 1):
            raise ValueError(
                f"X must be uint8 or lie in [0, 1] like the training images, got {rows.min():g} … {rows.max():g}"
            )
        span = high - low
        return (rows - low) / span if span else np.zeros(rows.shape)
