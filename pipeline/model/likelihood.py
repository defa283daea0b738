"""Likelihoods p(x | z) of pixels in [0, 1], given the decoder's raw output."""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from pipeline.config.sections import ModelParams


class AbstractLikelihood(ABC):
    """Density of an image given the decoder's raw output, and the mean image."""

    @abstractmethod
    def log_prob(self, raw: Float[Tensor, "*batch pixel"], x: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch"]:
        """Return log p(x | z) in nats, summed over pixels, in at least single precision."""

    @abstractmethod
    def mode(self, raw: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch pixel"]:
        """Return the mean image, clipped to [0, 1]."""


class BernoulliLikelihood(AbstractLikelihood):
    """Independent Bernoulli pixels; grey values are used as they are. The raw output holds logits."""

    def log_prob(self, raw: Float[Tensor, "*batch pixel"], x: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch"]:
        """See the interface."""
        loss = functional.binary_cross_entropy_with_logits(_at_least_single(raw), _at_least_single(x), reduction="none")
        return -loss.sum(-1)

    def mode(self, raw: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch pixel"]:
        """See the interface."""
        return _at_least_single(raw).sigmoid()


class GaussianLikelihood(AbstractLikelihood):
    """Independent Gaussian pixels with one fixed standard deviation.

    Args:
        sigma: standard deviation, in units of the pixel range [0, 1].
        is_squashed: whether the mean is the sigmoid of the raw output, or the raw output itself.
    """

    def __init__(self, sigma: float, is_squashed: bool) -> None:
        self._sigma, self._is_squashed = sigma, is_squashed

    def log_prob(self, raw: Float[Tensor, "*batch pixel"], x: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch"]:
        """See the interface."""
        error = (_at_least_single(x) - self._mean(raw)).square().sum(-1)
        constant = x.shape[-1] * (math.log(self._sigma) + 0.5 * math.log(2 * math.pi))
        return -0.5 * error / self._sigma**2 - constant

    def mode(self, raw: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch pixel"]:
        """See the interface."""
        return self._mean(raw).clamp(0.0, 1.0)

    def _mean(self, raw: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch pixel"]:
        raw = _at_least_single(raw)
        return raw.sigmoid() if self._is_squashed else raw


def make_likelihood(params: ModelParams) -> AbstractLikelihood:
    """Return the likelihood that a model section asks for."""
    if params.likelihood == "bernoulli":
        return BernoulliLikelihood()
    return GaussianLikelihood(params.sigma, is_squashed=params.output == "sigmoid")


def _at_least_single(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
