"""What the networks of every family offer: an encoder to all facets and a decoder from them."""

from abc import abstractmethod
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from pipeline.model.posterior import DiagonalNormal


class AbstractArchitecture(nn.Module):
    """Encoder and decoder with a leading seed axis.

    Facets ``first`` … J-1 take part; the shallower ones wait for their phase: their heads and rungs are not computed,
    so that their parameters see no gradient, while the backbone below them trains.
    """

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
