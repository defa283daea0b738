"""What hints add to the loss: hinted images lie within a cluster's width of each other, or do not.

With Δ the difference of two images' posterior means and v the components' variances, averaged by their weights,
s = exp(-Σ_d Δ_d² / 8 v_d) is how far two clusters around these means would overlap (Bhattacharyya's coefficient): 1
where they are one, next to 0 a few deviations apart. The term is four times the mean of -log s over pairs that are to
be the same plus the mean of -log(1 - s) over pairs that are to be different: the cross-entropy of the
meta-classification likelihood (Hsu et al., "Multi-class classification without multi-class labels", ICLR 2019), its two
kinds of pairs averaged apart. Pairs that are to be the same count more, as they alone keep a facet of more clusters
than classes from dividing these further by what other facets are about.

Hints move latents, and the mixture goes on to describe them all; of it they know a scale and nothing else. With s the
probability of one component for both images, clusters died. Before they have formed, every pair that is to be the same
pulls, and hardly any that is to be different does, as two images rarely share one of many components: the nearest way
down is one component for all. The others lose their images, with these their weight, and with it the probability that
anything ever comes back.
"""

import torch
from jaxtyping import Bool, Float, Int8, Int64
from torch import Tensor

from pipeline.core.hints import DIFFERENT, SAME, Hints
from pipeline.model import DiagonalNormal, MultiFacetVae
from pipeline.model.mixture_prior import MixturePrior

_SAME_WEIGHT = 4.0  # over that of pairs that are to be different
_NEAREST = 1e-6  # added to distances of images that are to differ: -log(1 - s) stays finite, as do its gradients


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
        self._model, self._first_facet, self._weight = model, first_facet, weight
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
            distance = distances(posteriors[place].mean, cluster_variance(self._model.prior(facet)))
            total = total + fade_in[place] * pair_loss(distance, relation).sum()
        return self._weight * total


@torch.no_grad()
def cluster_variance(prior: MixturePrior) -> Float[Tensor, "seed latent"]:
    """Return the variances of a component, averaged by the mixing weights: of what has died nothing counts."""
    variances = prior.covariance.matrices().diagonal(dim1=-2, dim2=-1)
    return (prior.log_mixing_weights.exp()[..., None] * variances).sum(1)


def distances(
    means: Float[Tensor, "seed drawn latent"], variance: Float[Tensor, "seed latent"]
) -> Float[Tensor, "seed drawn drawn"]:
    """Return -log s of all pairs of images: Bhattacharyya's distance between two normals of one variance."""
    difference = means[:, :, None] - means[:, None]
    return (difference.square() / (8.0 * variance[:, None, None])).sum(-1)


def pair_loss(
    distance: Float[Tensor, "seed drawn drawn"], relation: Int8[Tensor, "seed drawn drawn"]
) -> Float[Tensor, " seed"]:
    """Return four times the mean of -log s over same pairs plus that of -log(1 - s) over different ones; 0 of none.

    Args:
        distance: -log s.
        relation: symmetric; that of an image with itself must be unknown.
    """
    apart = -torch.expm1(-(distance + _NEAREST))
    return _SAME_WEIGHT * _mean(distance, relation == SAME) - _mean(apart.log(), relation == DIFFERENT)


def _mean(values: Float[Tensor, "seed drawn drawn"], which: Bool[Tensor, "seed drawn drawn"]) -> Float[Tensor, " seed"]:
    return (values * which).sum((1, 2)) / which.sum((1, 2)).clamp_min(1)
