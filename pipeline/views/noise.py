"""Noise on every pixel."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Int64
from torch import Tensor

from pipeline.views.base import AbstractFamily, Numbers, Views, per_image

_BITS = 23  # of a uniform number: with half a step more, single precision still holds it exactly
_WORD = 0xFFFFFFFF
_STRIDE = 0x9E3779  # between keys: the words of two views differ


class Noise(AbstractFamily):
    """``noise``: normal numbers on every pixel and channel, of a deviation of up to so many per cent of the range.

    Numbers for all pixels of all steps to come would take more memory than the images. So each view has one number from
    which those of its pixels are hashed: the same on every device.
    """

    n_numbers = 2

    def __init__(self, amounts: Mapping[str, float]) -> None:
        self._most = amounts["noise"] / 100

    def __call__(self, x: Views, numbers: Numbers) -> Views:
        """Return the views."""
        key = (numbers[:, 1] * 2**_BITS).long()
        place = torch.arange(math.prod(x.shape[1:]), device=x.device)
        uniform = (_hashed(key[:, None] * _STRIDE + _hashed(place)) >> (32 - _BITS)).to(x.dtype)
        normal = math.sqrt(2) * torch.erfinv((2 * uniform + 1) / 2**_BITS - 1)
        return x + per_image(self._most * numbers[:, 0]) * normal.view_as(x)


def _hashed(words: Int64[Tensor, "*shape"]) -> Int64[Tensor, "*shape"]:
    """Return well-mixed numbers of 32 bits (Wellons' hash of low bias, "Hash prospector", 2018)."""
    words = words & _WORD
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        words = ((words ^ (words >> shift)) * factor) & _WORD
    return words ^ (words >> 16)
