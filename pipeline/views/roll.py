"""Columns rolled around: a sound of a spectrogram begins earlier or later."""

from collections.abc import Mapping

import torch

from pipeline.views.base import AbstractFamily, Numbers, Views


class Roll(AbstractFamily):
    """``time_shift``: whole columns, of which those that leave on one side come in on the other.

    The amount is in per cent of the width; a column at least moves.
    """

    n_numbers = 1

    def __init__(self, amounts: Mapping[str, float]) -> None:
        self._part = amounts["time_shift"] / 100

    def __call__(self, x: Views, numbers: Numbers) -> Views:
        """Return the views."""
        width = x.shape[3]
        most = max(1, round(self._part * width))
        rolled = (numbers * (2 * most + 1)).long().clamp_max(2 * most) - most
        source = (torch.arange(width, device=x.device) - rolled) % width
        return x.gather(3, source[:, None, None, :].expand_as(x))
