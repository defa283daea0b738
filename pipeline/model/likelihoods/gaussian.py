"""Gaussian likelihood of pixels or features."""

import math

from jaxtyping import Float
from torch import Tensor

from pipeline.config.sections import ModelParams
from pipeline.datasets.store.spec import InputSpec
from pipeline.model.likelihoods.base import AbstractLikelihood, at_least_single, require_bounded


class GaussianLikelihood(AbstractLikelihood):
    """Independent Gaussian pixels with one fixed standard deviation, in units of the inputs as floats.

    The mean is the sigmoid of the raw output, or the raw output itself (``model.output``).
    """

    def __init__(self, params: ModelParams, spec: InputSpec) -> None:
        self._sigma, self._is_squashed = params.sigma, params.output == "sigmoid"
        if self._is_squashed:
            require_bounded(spec, "output sigmoid")

    def log_prob(self, raw: Float[Tensor, "*batch pixel"], x: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch"]:
        """Return the log density of independent pixels of one standard deviation."""
        error = (at_least_single(x) - self.mean(raw)).square().sum(-1)
        constant = x.shape[-1] * (math.log(self._sigma) + 0.5 * math.log(2 * math.pi))
        return -0.5 * error / self._sigma**2 - constant

    def mean(self, raw: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch pixel"]:
        """Return the mean, which may lie beyond the bounds of the inputs."""
        raw = at_least_single(raw)
        return raw.sigmoid() if self._is_squashed else raw
