"""Strokes that are thicker or thinner."""

from collections.abc import Mapping

import torch
from torch.nn import functional

from pipeline.views.base import AbstractFamily, Numbers, Views, per_image, signed

_WINDOW = 3


class Stroke(AbstractFamily):
    """``stroke``: images mixed with what is one pixel wider at each edge, by grey dilation, or narrower, by erosion.

    The amount is the largest part of the mixture, 1 for a whole pixel. Bright strokes grow where dark ones shrink.
    """

    n_numbers = 1

    def __init__(self, amounts: Mapping[str, float]) -> None:
        self._most = amounts["stroke"]

    def __call__(self, x: Views, numbers: Numbers) -> Views:
        """Return the views."""
        wide = functional.max_pool2d(x, _WINDOW, stride=1, padding=_WINDOW // 2)
        narrow = -functional.max_pool2d(-x, _WINDOW, stride=1, padding=_WINDOW // 2)
        part = per_image(self._most * signed(numbers[:, 0]))
        return torch.lerp(x, torch.where(part > 0, wide, narrow), part.abs())
