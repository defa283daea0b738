"""A new likelihood: this file in ``pipeline/model/likelihoods/`` and one line in ``pipeline/config/likelihoods.py``."""

import math

from jaxtyping import Float
from torch import Tensor

from pipeline.config.sections import ModelParams
from pipeline.datasets.store.spec import InputSpec
from pipeline.model.likelihoods.base import AbstractLikelihood, at_least_single


class LaplaceLikelihood(AbstractLikelihood):
    """Independent Laplace pixels of one scale, ``model.sigma``; the raw output holds their medians."""

    def __init__(self, params: ModelParams, spec: InputSpec) -> None:
        self._scale, self._is_bounded = params.sigma, spec.is_bounded

    def log_prob(self, raw: Float[Tensor, "*batch pixel"], x: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch"]:
        """Return the log density."""
        error = (at_least_single(x) - at_least_single(raw)).abs().sum(-1)
        return -error / self._scale - x.shape[-1] * math.log(2 * self._scale)

    def mean(self, raw: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch pixel"]:
        """Return the medians, which are the means."""
        raw = at_least_single(raw)
        return raw.clamp(0.0, 1.0) if self._is_bounded else raw
