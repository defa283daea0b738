"""Images out of focus."""

import math
from collections.abc import Mapping

import torch
from torch.nn import functional

from pipeline.views.base import AbstractFamily, Numbers, Views

_DEVIATIONS = 3  # of the Gaussian that count
_SHARPEST = 1e-3  # pixels: of no deviation at all, there would be no Gaussian


class Blur(AbstractFamily):
    """``blur``: a Gaussian of up to so many pixels' deviation; the image's edge is repeated outside."""

    n_numbers = 1

    def __init__(self, amounts: Mapping[str, float]) -> None:
        self._most = amounts["blur"]
        self._radius = math.ceil(_DEVIATIONS * self._most)

    def __call__(self, x: Views, numbers: Numbers) -> Views:
        """Return the views."""
        offset = torch.arange(-self._radius, self._radius + 1, dtype=numbers.dtype, device=numbers.device)
        deviation = (self._most * numbers).clamp_min(_SHARPEST)
        weight = (-0.5 * (offset / deviation) ** 2).softmax(1)[:, None, None, None]
        wide = functional.pad(x, [self._radius] * 4, mode="replicate")
        for axis in (2, 3):
            wide = (wide.unfold(axis, len(offset), 1) * weight).sum(-1)
        return wide
