"""What a family of transformations is: it makes views of images from uniform random numbers, and from nothing else."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

Views = Float[Tensor, "view channel height width"]
Numbers = Float[Tensor, "view number"]


class AbstractFamily(ABC):
    """Transformations that are made in one go, with operations that can be captured as a graph of a GPU.

    Args:
        amounts: of those that are asked for, by name (see ``pipeline.config.ignores``).

    Attributes:
        n_numbers: uniform numbers that a view takes.
    """

    n_numbers: int

    @abstractmethod
    def __init__(self, amounts: Mapping[str, float]) -> None: ...

    @abstractmethod
    def __call__(self, x: Views, numbers: Numbers) -> Views:
        """Return a view of every image.

        Args:
            x: images with values in [0, 1]; those of a view may lie outside.
            numbers: from 0 to 1, uniform.
        """


def signed(numbers: Float[Tensor, "*views"]) -> Float[Tensor, "*views"]:
    """Return uniform numbers of [0, 1] as ones of [-1, 1]."""
    return 2 * numbers - 1


def per_image(numbers: Float[Tensor, " view"]) -> Float[Tensor, "view 1 1 1"]:
    """Return one number an image so that it counts for all of its pixels."""
    return numbers[:, None, None, None]
