"""Likelihood of standardised rows: directions whose variances are learned, one by one."""

from jaxtyping import Float
from torch import Tensor

from pipeline.config.sections import ModelParams
from pipeline.datasets.store.spec import InputSpec
from pipeline.model.likelihoods.base import AbstractLikelihood, at_least_single
from pipeline.model.posterior import LOG_TWO_PI


class StandardisedLikelihood(AbstractLikelihood):
    """Independent Gaussians, log N(x; mean, diag(exp(log variance))): one variance a direction, the same for all rows.

    The raw output holds the means, then the log-variances, which a ladder over rows learns from ``model.sigma`` on.
    With one variance for all, the directions that vary most would say what the latents are about.
    """

    def __init__(self, params: ModelParams, spec: InputSpec) -> None:
        del params, spec  # the ladder starts its log-variances from sigma, and has its directions for targets

    def log_prob(self, raw: Float[Tensor, "*batch twice"], x: Float[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch"]:
        """Return the log density, in the ladder's units."""
        mean, log_variance = at_least_single(raw).chunk(2, -1)
        squares = (at_least_single(x) - mean).square() * (-log_variance).exp()
        return -0.5 * (squares + log_variance + LOG_TWO_PI).sum(-1)

    def mean(self, raw: Float[Tensor, "*batch twice"]) -> Float[Tensor, "*batch pixel"]:
        """Return the means."""
        return at_least_single(raw).chunk(2, -1)[0]
