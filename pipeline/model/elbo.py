"""The evidence lower bound: its five terms as a record, and the objective that training minimises.

With one sample per image (L = 1) the component posterior q(c | x) is the responsibility p(c | z), and the two KL terms
of a facet add up to log q(z | x) - log Σ_c π_c p(z | c) exactly. The training objective uses this form; the five terms
are for reporting (paper, eq. 58-60 and 89).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline import kernels
from pipeline.model.covariance import BETA, FLOOR, DiagonalCovariance
from pipeline.model.mixture_prior import MixturePrior
from pipeline.model.posterior import DiagonalNormal


@dataclass(frozen=True)
class ElboTerms:
    """Terms of the bound in nats an image, averaged over samples; facet terms have a leading list over facets.

    Attributes:
        log_px: E log p(x | z).
        log_pz: E log p(z_j | c_j).
        log_pc: E log p(c_j).
        log_qz: E log q(z_j | x).
        log_qc: E log q(c_j | x).
    """

    log_px: Float[Tensor, "seed batch"]
    log_pz: list[Float[Tensor, "seed batch"]]
    log_pc: list[Float[Tensor, "seed batch"]]
    log_qz: list[Float[Tensor, "seed batch"]]
    log_qc: list[Float[Tensor, "seed batch"]]

    @property
    def kl_z(self) -> list[Float[Tensor, "seed batch"]]:
        """E log q(z_j | x) - E log p(z_j | c_j)."""
        return [qz - pz for qz, pz in zip(self.log_qz, self.log_pz, strict=True)]

    @property
    def kl_c(self) -> list[Float[Tensor, "seed batch"]]:
        """E log q(c_j | x) - E log p(c_j)."""
        return [qc - pc for qc, pc in zip(self.log_qc, self.log_pc, strict=True)]

    @property
    def elbo(self) -> Float[Tensor, "seed batch"]:
        """Log p(x | z) minus all KL terms."""
        return self.log_px - torch.stack([*self.kl_z, *self.kl_c]).sum(0)


def facet_terms(
    prior: MixturePrior, qz: DiagonalNormal, noise: Float[Tensor, "sample seed batch latent"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return (log_pz, log_pc, log_qz, log_qc) of one facet, each "seed batch", estimated with L samples.

    q(c | x) ∝ exp(1/L Σ_l log p(c | z_l)) (paper, eq. 12 and 60).
    """
    samples = [qz.sample(one) for one in noise]
    given_component = torch.stack([prior.log_prob_given_component(z) for z in samples])
    log_weights = prior.log_mixing_weights[:, None]
    log_qc = (given_component + log_weights).log_softmax(-1).mean(0).log_softmax(-1)
    resp = log_qc.exp()
    log_qz = torch.stack([qz.log_prob_of_noise(one) for one in noise]).mean(0)
    return (
        (resp * given_component.mean(0)).sum(-1),
        (resp * log_weights).sum(-1),
        log_qz,
        (resp * log_qc).sum(-1),
    )


def facet_kl(
    prior: MixturePrior, qz: DiagonalNormal, noise: Float[Tensor, "sample seed batch latent"]
) -> Float[Tensor, "seed batch"]:
    """Return KL_z + KL_c of one facet in nats an image: the logsumexp form for L = 1, the five terms otherwise."""
    if len(noise) == 1:
        if isinstance(prior.covariance, DiagonalCovariance) and qz.mean.requires_grad and kernels.run_on(noise):
            from pipeline.kernels import mixture

            raw, log_weights = prior.covariance.raw_variance, prior.log_mixing_weights
            return mixture.sampled_kl(*qz, noise[0], prior.means, raw, log_weights, BETA, FLOOR)
        return qz.log_prob_of_noise(noise[0]) - prior.log_prob(qz.sample(noise[0]))
    log_pz, log_pc, log_qz, log_qc = facet_terms(prior, qz, noise)
    return log_qz - log_pz + log_qc - log_pc
