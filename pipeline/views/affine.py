"""Rotation, scale, shear and shift: one affine map, so that images are resampled once."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from pipeline.views.base import AbstractFamily, Numbers, Views, signed

_NUMBERS = {"rotate": 1, "scale": 1, "shear": 1, "shift": 2}


class Affine(AbstractFamily):
    """``rotate`` and ``shear`` in degrees, ``scale`` in per cent, ``shift`` in per cent of each side.

    A pixel at p, measured from the image's centre, moves to A p + t, with A the shear (x by tan φ of y), then the
    scale, then the rotation. Views are sampled bilinearly; what comes from outside the image repeats its edge: black
    corners would show the angle.
    """

    def __init__(self, amounts: Mapping[str, float]) -> None:
        self._amounts = amounts
        self._split = [_NUMBERS[name] for name in amounts]
        self.n_numbers = sum(self._split)

    def __call__(self, x: Views, numbers: Numbers) -> Views:
        """Return the views."""
        grid = self._sources(numbers, x.shape[2], x.shape[3])
        return functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)

    def _sources(self, numbers: Numbers, height: int, width: int) -> Float[Tensor, "view height width 2"]:
        """Return where each pixel of a view comes from: x, then y, from -1 to 1 over the image."""
        drawn = dict(zip(self._amounts, signed(numbers).split(self._split, dim=1), strict=True))
        zero = torch.zeros_like(numbers[:, :1])
        angle, tilt, stretch, move = (
            (drawn.get(name, zero) * self._amounts.get(name, 0.0))[:, :, None]
            for name in ("rotate", "shear", "scale", "shift")
        )
        cos, sin = torch.deg2rad(angle).cos(), torch.deg2rad(angle).sin()
        slope, shrink = torch.deg2rad(tilt).tan(), 1 / (1 + stretch / 100)
        # Offsets from the centre in pixels, as an affine map of sides of different length would shear them.
        across = torch.arange(width, dtype=numbers.dtype, device=numbers.device) - (width - 1) / 2
        down = (torch.arange(height, dtype=numbers.dtype, device=numbers.device) - (height - 1) / 2)[:, None]
        across, down = across - move[:, :1] * (width / 100), down - move[:, -1:] * (height / 100)
        # The inverse of scale · rotation · shear.
        across, down = shrink * (cos * across + sin * down), shrink * (cos * down - sin * across)
        return torch.stack([(across - slope * down) * (2 / width), (down) * (2 / height)], dim=-1)
