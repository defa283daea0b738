"""The posterior of a facet's latent, q(z_j | x) = N(mean, diag(exp(log_variance)))."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline import kernels

# exp(log-variance) stays within single precision, and a posterior is never sharper than 1e-3 of a unit.
_LOG_VARIANCE_MIN, _LOG_VARIANCE_MAX = -14.0, 8.0
LOG_TWO_PI = math.log(2 * math.pi)


class DiagonalNormal(NamedTuple):
    """A batch of Gaussians with diagonal covariance."""

    mean: Float[Tensor, "*batch latent"]
    log_variance: Float[Tensor, "*batch latent"]

    @property
    def variance(self) -> Float[Tensor, "*batch latent"]:
        """Diagonal of the covariance."""
        return self.log_variance.exp()

    def sample(
        self, noise: Float[Tensor, "*batch latent"], precision: torch.dtype | None = None
    ) -> Float[Tensor, "*batch latent"]:
        """Return mean + exp(log_variance / 2) · noise, differentiable in both parameters.

        Args:
            noise: standard normal numbers.
            precision: of the result; that of the parameters by default.
        """
        precision = precision or self.mean.dtype
        if self.mean.requires_grad and kernels.run_on(self.mean):
            from pipeline.kernels import latent

            return latent.sample(*self, noise, precision)
        z = torch.addcmul(self.mean, (0.5 * self.log_variance).exp(), noise)
        return z.to(precision)

    def log_prob_of_noise(self, noise: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch"]:
        """Return log q(z | x) in nats of the sample that ``noise`` gives; (z - mean)/std is the noise itself."""
        total = torch.addcmul(self.log_variance, noise, noise).sum(-1)
        return torch.rsub(total, -0.5 * noise.shape[-1] * LOG_TWO_PI, alpha=0.5)


def bounded_posterior(raw: Float[Tensor, "*batch two_latent"]) -> DiagonalNormal:
    """Split a head's output into a posterior in at least single precision, its log-variance bounded to [-14, 8]."""
    if raw.requires_grad and kernels.run_on(raw):  # without gradients the kernel is not worth the wait for the compiler
        from pipeline.kernels import latent

        return DiagonalNormal(*latent.split_head(raw, _LOG_VARIANCE_MIN, _LOG_VARIANCE_MAX))
    mean, log_variance = (raw.float() if raw.dtype == torch.bfloat16 else raw).chunk(2, dim=-1)
    return DiagonalNormal(mean, log_variance.clamp(_LOG_VARIANCE_MIN, _LOG_VARIANCE_MAX))
