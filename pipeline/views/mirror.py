"""Images mirrored left to right."""

from collections.abc import Mapping

import torch

from pipeline.views.base import AbstractFamily, Numbers, Views, per_image


class Mirror(AbstractFamily):
    """``mirrored``: a part of the views, in per cent, shows left and right exchanged."""

    n_numbers = 1

    def __init__(self, amounts: Mapping[str, float]) -> None:
        self._part = amounts["mirrored"] / 100

    def __call__(self, x: Views, numbers: Numbers) -> Views:
        """Return the views."""
        return torch.where(per_image(numbers[:, 0]) < self._part, x.flip(3), x)
