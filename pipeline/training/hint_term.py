"""What hints add to the loss: pairs of hinted images share a cluster, or do not.

With r the responsibilities of a facet at the posterior mean, s_ik = Σ_c r_ic r_kc is the probability that images i and
k have the same component. The term is the mean of -log s over pairs that are to be the same plus the mean of
-log(1 - s) over pairs that are to be different: the cross-entropy of the meta-classification likelihood (Hsu et al.,
"Multi-class classification without multi-class labels", ICLR 2019), its two kinds of pairs averaged apart, so that a
kind of which there are few counts as much. It names no cluster and needs no number of them.

Hints move latents, not the mixture, which goes on to describe them all. Before clusters have formed, the term would be
lowest with all weight on two components, and a component without weight is lost: of six trainings on drawings of two
properties three went astray where hints moved the mixture, too, and none where they did not.
"""

import torch
from jaxtyping import Bool, Float, Int8, Int64
from torch import Tensor

from pipeline.model import DiagonalNormal, MultiFacetVae
from pipeline.model.mixture_prior import MixturePrior
from pipeline.training.hints import DIFFERENT, SAME, Hints

_LEAST_LOG_RESP = -40.0  # of a product of two: far from the least number of single precision, and so are its gradients


class HintTerm:
    """The term of all facets that take part, on the device of the model.

    Args:
        hints: what is known.
        model: all seeds' models.
        first_facet: shallowest facet that takes part.
        weight: of the term.

    Attributes:
        rows: of the hinted images.
    """

    def __init__(self, hints: Hints, model: MultiFacetVae, first_facet: int, weight: float) -> None:
        device = model.prior(0).means.device
        self.rows = torch.from_numpy(hints.rows).to(device)
        self._first_facet, self._weight = first_facet, weight
        self._priors = {facet: fixed_prior(model, facet) for facet in hints.facets(first_facet)}
        self._known = {
            facet: (
                torch.from_numpy(hints.chunklets[facet]).to(device),
                torch.from_numpy(hints.relations[facet]).to(device),
            )
            for facet in hints.facets(first_facet)
        }

    def __call__(
        self,
        posteriors: list[DiagonalNormal],
        drawn: Int64[Tensor, "seed drawn"],
        fade_in: Float[Tensor, " active"],
    ) -> Float[Tensor, ""]:
        """Return the weighted sum of the facets' terms, summed over seeds: every seed gets its own gradient.

        Args:
            posteriors: of the drawn images, from the shallowest facet that takes part on.
            drawn: by their place among the hinted images.
            fade_in: coefficient of each of these facets.
        """
        distinct = drawn[:, :, None] != drawn[:, None, :]
        total = fade_in.new_zeros(())
        for facet, (chunklets, relations) in self._known.items():
            chunklet, place = chunklets[drawn], facet - self._first_facet
            relation = relations[chunklet[:, :, None], chunklet[:, None, :]] * distinct
            log_resp = self._priors[facet].log_resp(posteriors[place].mean)
            total = total + fade_in[place] * pair_loss(log_resp, relation).sum()
        return self._weight * total


def fixed_prior(model: MultiFacetVae, facet: int) -> MixturePrior:
    """Return a facet's prior without gradients; its values are the model's own memory, so they move with it."""
    prior = MixturePrior(model.n_seeds, model.params, facet, component_std=1.0)
    for own, master in zip(prior.parameters(), model.prior(facet).parameters(), strict=True):
        own.data = master.data
    return prior.requires_grad_(False)


def pair_loss(
    log_resp: Float[Tensor, "seed drawn component"], relation: Int8[Tensor, "seed drawn drawn"]
) -> Float[Tensor, " seed"]:
    """Return the mean of -log s over same pairs plus that of -log(1 - s) over different ones; 0 where there are none.

    Responsibilities below e⁻⁴⁰ count as that, so that the value is finite with finite gradients. 1 - s is summed over
    pairs of different components: subtracted from 1, nothing would be left of it, and of its gradient, where two images
    that are to differ lie in the middle of one cluster.

    Args:
        log_resp: logarithms of the responsibilities.
        relation: symmetric; that of an image with itself must be unknown.
    """
    resp = log_resp.clamp_min(_LEAST_LOG_RESP).exp()
    others = 1.0 - torch.eye(resp.shape[-1], dtype=resp.dtype, device=resp.device)
    same = _mean((resp @ resp.mT).log(), relation == SAME)
    return -same - _mean((resp @ (resp @ others).mT).log(), relation == DIFFERENT)


def _mean(values: Float[Tensor, "seed drawn drawn"], which: Bool[Tensor, "seed drawn drawn"]) -> Float[Tensor, " seed"]:
    return (values * which).sum((1, 2)) / which.sum((1, 2)).clamp_min(1)
