"""Covariance factors of a facet's components: diagonal or full, both by Σ = L Lᵀ.

Unconstrained storage is turned positive by a softplus with β = 10 and a floor (paper, appendix D.4): the variances for
the diagonal form, the diagonal of the Cholesky factor for the full one.
"""

import math
from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from pipeline.model.mixture_density import diagonal_log_mixture
from pipeline.model.posterior import LOG_TWO_PI

BETA = 10.0
FLOOR = 1e-5
_LINEAR_ABOVE = 80.0  # of β · raw: softplus is linear there, and its exponential overflows in single precision at 88

_Latents = Float[Tensor, "seed batch latent"]
_Means = Float[Tensor, "seed component latent"]
_Weights = Float[Tensor, "seed component"]


def positive(raw: Tensor) -> Tensor:
    """Map the real line to (1e-5, ∞): softplus with β = 10, plus the floor."""
    return functional.softplus(raw, beta=BETA, threshold=_LINEAR_ABOVE) + FLOOR


def raw_of_positive(value: float) -> float:
    """Invert :func:`positive` for one number above the floor."""
    return math.log(math.expm1(BETA * (value - FLOOR))) / BETA


def _raw_of_positive_tensor(value: Tensor) -> Tensor:
    above = (value - FLOOR).clamp_min(FLOOR)
    return above + torch.log(-torch.expm1(-BETA * above)) / BETA


class AbstractCovariance(nn.Module):
    """Σ_c of every component of one facet, with a leading seed axis."""

    @abstractmethod
    def whiten(self, difference: Float[Tensor, "seed batch component latent"]) -> Tensor:
        """Return L_c⁻¹ d for each difference d = z - μ_c, of the same shape."""

    @abstractmethod
    def half_log_det(self) -> Float[Tensor, "seed component"]:
        """Return ½ log det Σ_c = Σ log diag(L_c)."""

    @abstractmethod
    def trace_with(self, variance: Float[Tensor, "seed batch latent"]) -> Float[Tensor, "seed batch component"]:
        """Return tr(Σ_c⁻¹ diag(variance)) (needed by eq. 12 in closed form)."""

    @abstractmethod
    def matrices(self) -> Float[Tensor, "seed component latent latent"]:
        """Return Σ_c."""

    def log_normals(self, z: _Latents, means: _Means) -> Float[Tensor, "seed batch component"]:
        """Return log N(z; μ_c, Σ_c) in nats."""
        # (z - μ)² rather than the expanded square: no cancellation in single precision.
        whitened = self.whiten(z[:, :, None] - means[:, None])
        constant = self.half_log_det() + 0.5 * z.shape[-1] * LOG_TWO_PI
        return -0.5 * whitened.square().sum(-1) - constant[:, None]

    def log_mixture(self, z: _Latents, means: _Means, log_weights: _Weights) -> Float[Tensor, "seed batch"]:
        """Return log Σ_c π_c N(z; μ_c, Σ_c) in nats."""
        return (self.log_normals(z, means) + log_weights[:, None]).logsumexp(-1)

    @abstractmethod
    def place(self, index: int, covariances: Float[Tensor, "component latent latent"]) -> None:
        """Set Σ_c of one model of the seed axis; of the diagonal form only the diagonals count."""


class DiagonalCovariance(AbstractCovariance):
    """Σ_c = diag(variance_c), one raw number a dimension."""

    def __init__(self, n_seeds: int, n_components: int, latent_dim: int, component_std: float) -> None:
        super().__init__()
        raw = raw_of_positive(component_std**2)
        self.raw_variance = nn.Parameter(torch.full((n_seeds, n_components, latent_dim), raw))

    @property
    def scale(self) -> Float[Tensor, "seed component latent"]:
        """Standard deviations."""
        return positive(self.raw_variance).sqrt()

    def whiten(self, difference: Float[Tensor, "seed batch component latent"]) -> Tensor:
        """Divide each coordinate by its standard deviation."""
        return difference * self.scale.reciprocal()[:, None]

    def half_log_det(self) -> Float[Tensor, "seed component"]:
        """Return the sum of the logarithms of the standard deviations."""
        return self.scale.log().sum(-1)

    def trace_with(self, variance: Float[Tensor, "seed batch latent"]) -> Float[Tensor, "seed batch component"]:
        """Return the sums of the variances over those of the components."""
        return variance @ positive(self.raw_variance).reciprocal().mT

    def log_mixture(self, z: _Latents, means: _Means, log_weights: _Weights) -> Float[Tensor, "seed batch"]:
        """Evaluate all components in one kernel, with a gradient of its own."""
        return diagonal_log_mixture(z, means, positive(self.raw_variance), log_weights)

    def matrices(self) -> Float[Tensor, "seed component latent latent"]:
        """Return the variances on diagonals."""
        return torch.diag_embed(positive(self.raw_variance))

    @torch.no_grad()
    def place(self, index: int, covariances: Float[Tensor, "component latent latent"]) -> None:
        """Take the diagonals; what lies beside them is dropped."""
        self.raw_variance[index].copy_(_raw_of_positive_tensor(covariances.diagonal(dim1=-2, dim2=-1)))


class FullCovariance(AbstractCovariance):
    """Σ_c = L_c L_cᵀ with a free lower triangle and a positive diagonal."""

    def __init__(self, n_seeds: int, n_components: int, latent_dim: int, component_std: float) -> None:
        super().__init__()
        raw = torch.zeros(n_seeds, n_components, latent_dim, latent_dim)
        raw.diagonal(dim1=-2, dim2=-1).fill_(raw_of_positive(component_std))
        self.raw_scale_tril = nn.Parameter(raw)

    @property
    def scale_tril(self) -> Float[Tensor, "seed component latent latent"]:
        """Cholesky factors."""
        raw = self.raw_scale_tril
        return raw.tril(-1) + torch.diag_embed(positive(raw.diagonal(dim1=-2, dim2=-1)))

    def _inverse(self) -> Float[Tensor, "seed component latent latent"]:
        factor = self.scale_tril
        identity = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device).expand_as(factor)
        return torch.linalg.solve_triangular(factor, identity, upper=False)

    def whiten(self, difference: Float[Tensor, "seed batch component latent"]) -> Tensor:
        """Multiply with the inverse of the Cholesky factor."""
        # One product per component, batched over components: (batch, latent) @ (latent, latent).
        return (difference.transpose(1, 2) @ self._inverse().mT).transpose(1, 2)

    def half_log_det(self) -> Float[Tensor, "seed component"]:
        """Return the sum of the logarithms of the factor's diagonal."""
        return positive(self.raw_scale_tril.diagonal(dim1=-2, dim2=-1)).log().sum(-1)

    def trace_with(self, variance: Float[Tensor, "seed batch latent"]) -> Float[Tensor, "seed batch component"]:
        """Return tr(Σ⁻¹ diag(variance)), from the squared columns of the inverse factor."""
        return variance @ self._inverse().square().sum(-2).mT

    def matrices(self) -> Float[Tensor, "seed component latent latent"]:
        """Return L Lᵀ."""
        factor = self.scale_tril
        return factor @ factor.mT

    @torch.no_grad()
    def place(self, index: int, covariances: Float[Tensor, "component latent latent"]) -> None:
        """Take the Cholesky factors."""
        factor = torch.linalg.cholesky(covariances)
        raw = _raw_of_positive_tensor(factor.diagonal(dim1=-2, dim2=-1))
        self.raw_scale_tril[index].copy_(factor.tril(-1) + torch.diag_embed(raw))


COVARIANCES = {"diagonal": DiagonalCovariance, "full": FullCovariance}
