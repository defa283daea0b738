"""The prior of one facet: p(z_j) = Σ_c π_c N(z_j; μ_c, Σ_c), with a leading seed axis (paper, eq. 1)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.config.sections import ModelParams
from pipeline.model.covariance import COVARIANCES, AbstractCovariance
from pipeline.model.posterior import DiagonalNormal


class MixturePrior(nn.Module):
    """A mixture of Gaussians over the latent of facet ``facet``.

    Args:
        n_seeds: seeds side by side.
        params: the model section.
        facet: which facet, 0 being the shallowest.
        component_std: initial standard deviation of every component.
    """

    def __init__(self, n_seeds: int, params: ModelParams, facet: int, component_std: float) -> None:
        super().__init__()
        n_components, latent_dim = params.n_components[facet], params.latent_dims[facet]
        self.means = nn.Parameter(torch.zeros(n_seeds, n_components, latent_dim))
        self.covariance: AbstractCovariance = COVARIANCES[params.covariance[facet]](
            n_seeds, n_components, latent_dim, component_std
        )
        self.mixing_logits = nn.Parameter(
            torch.zeros(n_seeds, n_components), requires_grad=params.mixing_weights == "learned"
        )

    @property
    def log_mixing_weights(self) -> Float[Tensor, "seed component"]:
        """Return log π."""
        return self.mixing_logits.log_softmax(-1)

    def log_joint(self, z: Float[Tensor, "seed batch latent"]) -> Float[Tensor, "seed batch component"]:
        """Return log p(z | c) + log π_c in nats."""
        return self.log_prob_given_component(z) + self.log_mixing_weights[:, None]

    def log_prob_given_component(self, z: Float[Tensor, "seed batch latent"]) -> Float[Tensor, "seed batch component"]:
        """Return log N(z; μ_c, Σ_c) in nats."""
        return self.covariance.log_normals(z, self.means)

    def log_prob(self, z: Float[Tensor, "seed batch latent"]) -> Float[Tensor, "seed batch"]:
        """Return log p(z) in nats."""
        return self.covariance.log_mixture(z, self.means, self.log_mixing_weights)

    def log_resp(self, z: Float[Tensor, "seed batch latent"]) -> Float[Tensor, "seed batch component"]:
        """Return log p(c | z), the responsibilities of a point."""
        return self.log_joint(z).log_softmax(-1)

    def exact_log_resp(self, qz: DiagonalNormal) -> Float[Tensor, "seed batch component"]:
        """Return log q(c | x) ∝ E_{q(z|x)} log p(c | z) in closed form (paper, eq. 12).

        The evidence term of p(c | z) is the same for every c, so only log N(mean; μ_c, Σ_c) - ½ tr(Σ_c⁻¹ S) + log π_c
        remains.
        """
        return self.blurred_log_resp(self.log_joint(qz.mean), qz.variance)

    def blurred_log_resp(
        self, log_joint: Float[Tensor, "seed batch component"], variance: Float[Tensor, "seed batch latent"]
    ) -> Float[Tensor, "seed batch component"]:
        """Return :meth:`exact_log_resp` from the log-joint at the posterior means and the posterior variances."""
        return (log_joint - 0.5 * self.covariance.trace_with(variance)).log_softmax(-1)
