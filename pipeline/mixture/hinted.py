"""What hints say of the directions that a facet reads: a discriminant analysis whose classes are hinted images.

The facet is to read what differs between images that are to be different, by how much images that are to be the same
differ there (Fisher's criterion; the latter is the relevant component analysis of Bar-Hillel et al., ICML 2003). A few
images know a few directions, so what neighbours differ in counts as sameness besides.

What one facet is told to be about, the others are not: their criterion counts it as noise.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pipeline.core.hints import DIFFERENT, Hints

_Rows = Float[Tensor, "row number"]
_Square = Float[Tensor, "number number"]


@dataclass(frozen=True)
class HintedRows:
    """Hints, and where their images are among the rows that directions are learned from.

    Attributes:
        hints: those of images that are trained on.
        places: of the hinted images, in the hints' order.
    """

    hints: Hints
    places: Int64[np.ndarray, " hinted"]

    def scatters(self, rows: _Rows) -> "dict[int, Scatter]":
        """Return what hints say of some rows, by facet; without those that say nothing."""
        hinted = rows[torch.from_numpy(self.places)]
        return {facet: _scatter(hinted, self.hints, facet) for facet in self.hints.facets()}


@dataclass(frozen=True)
class Scatter:
    """How hinted rows vary in one facet.

    Attributes:
        within: covariance of rows that are to be the same; 0 where none are.
        between: that of the means of rows that are to be different; None where none are.
    """

    within: _Square
    between: _Square | None


def _scatter(hinted: _Rows, hints: Hints, facet: int) -> Scatter:
    own = torch.from_numpy(hints.chunklets[facet])
    rows, own = hinted[own >= 0], own[own >= 0]
    n_chunklets = len(hints.relations[facet]) - 1
    sizes = own.bincount(minlength=n_chunklets).to(rows.dtype)
    means = rows.new_zeros(n_chunklets, rows.shape[1]).index_add(0, own, rows) / sizes.clamp_min(1)[:, None]
    inside = rows - means[own]
    freedom = (sizes - 1).clamp_min(0).sum().clamp_min(1)
    differ = torch.from_numpy(hints.relations[facet][:-1, :-1] == DIFFERENT) & (sizes > 0) & (sizes > 0)[:, None]
    return Scatter(inside.T @ inside / freedom, _between(means, differ.to(rows.dtype)) if bool(differ.any()) else None)


def _between(means: Float[Tensor, "chunklet number"], differ: Float[Tensor, "chunklet chunklet"]) -> _Square:
    """Return half the mean square of differences of means, over pairs of which ``differ`` is 1."""
    return (means.T @ (differ.sum(1)[:, None] * means) - means.T @ differ @ means) / differ.sum()
