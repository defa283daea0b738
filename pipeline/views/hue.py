"""Hues turned around the circle of colours."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.views.base import AbstractFamily, Numbers, Views, signed

_SECTORS = 6  # of 60 degrees each, from red over yellow


class Hue(AbstractFamily):
    """``hue``, in degrees: value and saturation (of HSV) stay, greys stay as they are."""

    n_numbers = 1

    def __init__(self, amounts: Mapping[str, float]) -> None:
        self._sectors = amounts["hue"] * _SECTORS / 360

    def __call__(self, x: Views, numbers: Numbers) -> Views:
        """Return the views."""
        value, chroma = x.amax(1), x.amax(1) - x.amin(1)
        hue = _hue(x, value, chroma) + self._sectors * signed(numbers[:, 0])[:, None, None]
        # A channel has the value, less the chroma by how far its own colour lies from the hue.
        channels = []
        for offset in (5, 3, 1):
            place = (hue + offset) % _SECTORS
            channels.append(value - chroma * torch.minimum(place, 4 - place).clamp(0, 1))
        return torch.stack(channels, dim=1)


def _hue(
    x: Views, value: Float[Tensor, "view height width"], chroma: Float[Tensor, "view height width"]
) -> Float[Tensor, "view height width"]:
    """Return the hue in sectors, 0 for red; that of greys is any."""
    red, green, blue = x.unbind(1)
    divisor = chroma.clamp_min(torch.finfo(x.dtype).tiny)
    of_blue = 4 + (red - green) / divisor
    of_green = torch.where(value == green, 2 + (blue - red) / divisor, of_blue)
    return torch.where(value == red, (green - blue) / divisor, of_green)
