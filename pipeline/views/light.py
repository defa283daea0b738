"""Brightness, contrast, and images inverted."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.views.base import AbstractFamily, Numbers, Views, per_image, signed

_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (Rec. 601)


class Light(AbstractFamily):
    """``brightness`` and ``contrast``, in per cent, and ``invert``, a part of the views in per cent.

    Brightness multiplies all values, contrast their differences from the image's mean grey; both are cut at 0 and 1.
    """

    def __init__(self, amounts: Mapping[str, float]) -> None:
        self._amounts = amounts
        self.n_numbers = len(amounts)

    def __call__(self, x: Views, numbers: Numbers) -> Views:
        """Return the views."""
        for (name, amount), own in zip(self._amounts.items(), numbers.unbind(1), strict=True):
            part, factor = amount / 100, per_image(1 + amount / 100 * signed(own))
            if name == "brightness":
                x = (x * factor).clamp(0, 1)
            elif name == "contrast":
                x = torch.lerp(_mean_grey(x), x, factor).clamp(0, 1)
            else:
                x = torch.where(per_image(own) < part, 1 - x, x)
        return x


def _mean_grey(x: Views) -> Float[Tensor, "view 1 1 1"]:
    if x.shape[1] != len(_LUMA):
        return x.mean((1, 2, 3), keepdim=True)
    mean = x.mean((2, 3), keepdim=True)
    red, green, blue = (weight * mean[:, channel, None] for channel, weight in enumerate(_LUMA))
    return red + green + blue
