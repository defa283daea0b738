"""What the networks of every family offer: an encoder to all facets and a decoder from them."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from pipeline.config.ladders import LADDERS
from pipeline.config.lookup import look_up
from pipeline.config.sections import ModelParams
from pipeline.datasets.store.spec import Shape
from pipeline.model.posterior import DiagonalNormal


class AbstractArchitecture(nn.Module):
    """Encoder and decoder with a leading seed axis.

    Facets ``first`` … J-1 take part; the shallower ones wait for their phase: their heads and rungs are not computed,
    so that their parameters see no gradient, while the backbone below them trains.

    Every leaf is built as ``Ladder(n_seeds, params, image_shape)`` from the model section and the shape of an input.

    Attributes:
        can_widen: whether blocks may be padded with zeros, to widths that a GPU's matrix units load well, and compute
            the same.
        seeds_at_once: how many seeds a GPU should work on at once; None for all.
    """

    can_widen: ClassVar[bool] = False
    seeds_at_once: ClassVar[int | None] = None

    @abstractmethod
    def encode(self, x: Float[Tensor, "seed batch channel height width"], first: int) -> list[DiagonalNormal]:
        """Return q(z_j | x) for j = first … J-1, shallowest first."""

    @abstractmethod
    def decode(
        self, latents: Sequence[Float[Tensor, "seed batch _"]], fade_in: Float[Tensor, " facet"]
    ) -> Float[Tensor, "seed batch pixel"]:
        """Return the raw output for the latents of the last ``len(latents)`` facets.

        Args:
            latents: z_j for j = first … J-1, shallowest first.
            fade_in: coefficient of every facet's rung, all J of them.
        """

    def target(self, x: Float[Tensor, "seed batch channel height width"]) -> Float[Tensor, "seed batch pixel"]:
        """Return what the likelihood scores of an input: fixed functions of it, by default the numbers themselves."""
        return x.flatten(2)

    def inputs(self, mean: Float[Tensor, "seed batch pixel"]) -> Float[Tensor, "seed batch number"]:
        """Return the input whose :meth:`target` a likelihood's mean is."""
        return mean


def make_ladder(n_seeds: int, params: ModelParams, image_shape: Shape) -> AbstractArchitecture:
    """Return the networks that a model section asks for, their weights not initialised."""
    return look_up("pipeline.model.ladders", LADDERS[params.family].network)(n_seeds, params, image_shape)
