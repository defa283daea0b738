"""Likelihoods p(x | z) of inputs as floats, given the decoder's raw output."""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline import kernels
from pipeline.config.sections import ModelParams
from pipeline.core.errors import ModelError
from pipeline.datasets.store.spec import InputSpec

_FACTORS = 64  # at most, of a product: 2⁻⁶⁴ is far from the least number of single precision


class AbstractLikelihood(ABC):
    """Density of an image given the decoder's raw output, and the mean image."""

    @abstractmethod
    def log_prob(self, raw: Float[Tensor, "*batch pixel"], x: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch"]:
        """Return log p(x | z) in nats, summed over pixels, in at least single precision."""

    @abstractmethod
    def mean(self, raw: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch pixel"]:
        """Return the mean image, within the bounds of the inputs."""


class BernoulliLikelihood(AbstractLikelihood):
    """Independent Bernoulli pixels; grey values are used as they are. The raw output holds logits."""

    def log_prob(self, raw: Float[Tensor, "*batch pixel"], x: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch"]:
        """Return the negative cross-entropy of the pixels, in one kernel."""
        output = _BernoulliLogProb.apply(raw, x)
        assert isinstance(output, Tensor)
        return output

    def mean(self, raw: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch pixel"]:
        """Return the probabilities."""
        return _at_least_single(raw).sigmoid()


class GaussianLikelihood(AbstractLikelihood):
    """Independent Gaussian pixels with one fixed standard deviation.

    Args:
        sigma: standard deviation, in units of the inputs as floats.
        is_squashed: whether the mean is the sigmoid of the raw output, or the raw output itself.
        is_bounded: whether inputs lie in [0, 1].
    """

    def __init__(self, sigma: float, is_squashed: bool, is_bounded: bool) -> None:
        self._sigma, self._is_squashed, self._is_bounded = sigma, is_squashed, is_bounded

    def log_prob(self, raw: Float[Tensor, "*batch pixel"], x: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch"]:
        """Return the log density of independent pixels of one standard deviation."""
        error = (_at_least_single(x) - self._mean(raw)).square().sum(-1)
        constant = x.shape[-1] * (math.log(self._sigma) + 0.5 * math.log(2 * math.pi))
        return -0.5 * error / self._sigma**2 - constant

    def mean(self, raw: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch pixel"]:
        """Return the mean, clipped to the bounds of the inputs."""
        return self._mean(raw).clamp(0.0, 1.0) if self._is_bounded else self._mean(raw)

    def _mean(self, raw: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch pixel"]:
        raw = _at_least_single(raw)
        return raw.sigmoid() if self._is_squashed else raw


class _BernoulliLogProb(torch.autograd.Function):
    """Σ x·raw - log(1 + exp(raw)), with the gradient x - σ(raw) in the precision of the raw output.

    log(1 + exp(raw)) is max(raw, 0) - log σ(|raw|), and a sum of logarithms is the logarithm of a product. On a CPU it
    takes a fifth of the time of the ``log1p`` in torch's own loss. A factor in [½, 1] is off by half a unit in the last
    place of 1, which is nothing next to the density of an image.
    """

    @staticmethod
    def forward(ctx: Any, raw: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(raw, x)
        if kernels.run_on(raw):
            from pipeline.kernels import bernoulli

            return bernoulli.log_prob(raw, x)
        raw, x = _at_least_single(raw), _at_least_single(x)
        # The linear parts first: they are 0 together where a pixel is certain, however large the logit.
        linear = raw.relu().addcmul_(raw, x, value=-1)
        factors = raw.abs().sigmoid_().unflatten(-1, (math.gcd(raw.shape[-1], _FACTORS), -1))
        return factors.prod(-2).log_().sum(-1) - linear.sum(-1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (grad,) = grad_outputs
        raw, x = ctx.saved_tensors
        if kernels.run_on(raw):
            from pipeline.kernels import bernoulli

            return bernoulli.gradient(grad, raw, x), None
        return _at_least_single(raw).sigmoid().sub_(x).mul_(-grad[..., None]).to(raw.dtype), None


def make_likelihood(params: ModelParams, spec: InputSpec) -> AbstractLikelihood:
    """Return the likelihood that a model section asks for.

    Raises:
        ModelError: it scores numbers in [0, 1], and the inputs have no such bounds.
    """
    if params.likelihood == "gaussian" and (params.output == "linear" or spec.is_bounded):
        return GaussianLikelihood(params.sigma, params.output == "sigmoid", spec.is_bounded)
    if params.likelihood == "bernoulli" and spec.is_bounded:
        return BernoulliLikelihood()
    raise ModelError(
        f"inputs without bounds need model.likelihood gaussian and model.output linear, got {params.likelihood} and "
        f"{params.output} for {spec}; change them, or scale the inputs to [0, 1]"
    )


def _at_least_single(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
