"""What a likelihood p(x | z) of inputs as floats is, given the decoder's raw output."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.config.likelihoods import LIKELIHOODS
from pipeline.config.lookup import look_up
from pipeline.config.sections import ModelParams
from pipeline.core.errors import ModelError
from pipeline.datasets.store.spec import InputSpec


class AbstractLikelihood(ABC):
    """Density of an image given the decoder's raw output, and the mean image.

    Args:
        params: the model section.
        spec: what an input is.

    Raises:
        ModelError: it cannot score such inputs.
    """

    @abstractmethod
    def __init__(self, params: ModelParams, spec: InputSpec) -> None: ...

    @abstractmethod
    def log_prob(self, raw: Float[Tensor, "*batch pixel"], x: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch"]:
        """Return log p(x | z) in nats, summed over pixels, in at least single precision."""

    @abstractmethod
    def mean(self, raw: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch pixel"]:
        """Return the mean image; where inputs have bounds, :meth:`FrozenModel.decode` keeps it within them."""


def make_likelihood(params: ModelParams, spec: InputSpec) -> AbstractLikelihood:
    """Return the likelihood that a model section asks for.

    Raises:
        ModelError: it cannot score such inputs.
    """
    return look_up("pipeline.model.likelihoods", LIKELIHOODS[params.likelihood])(params, spec)


def require_bounded(spec: InputSpec, what: str) -> None:
    """Refuse inputs without bounds, for a likelihood that scores numbers in [0, 1] or decodes nothing else.

    Raises:
        ModelError: the inputs have no bounds.
    """
    if not spec.is_bounded:
        raise ModelError(
            f"{what} needs inputs in [0, 1], got {spec} without bounds; "
            "scale them, or set model.likelihood to gaussian and model.output to linear"
        )


def at_least_single(x: Tensor) -> Tensor:
    """Return numbers in single precision where they have less."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
