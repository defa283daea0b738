"""What hints add to the loss: posteriors of hinted images overlap, or do not.

With Δ the difference of two images' posterior means and v the posterior variances of a facet, averaged over the hinted
images of the step, s = exp(-Σ_d Δ_d² / 8 v_d) is how far two normals of these variances overlap (Bhattacharyya's
coefficient): 1 where they are alike, next to 0 a few deviations apart. The term is the mean of -log s over pairs that
are to be the same plus the mean of -log(1 - s) over pairs that are to be different: the cross-entropy of the
meta-classification likelihood (Hsu et al., "Multi-class classification without multi-class labels", ICLR 2019), its
two kinds of pairs averaged apart, so that a kind of which there are few counts as much.

The mixture has no part in it, neither its gradients nor its values: hints move latents, and the mixture goes on to
describe them all. With s the probability of one component for both, clusters died. Before they have formed, every pair
that is to be the same pulls with a force, hardly any that is to be different does, as two images rarely share one of
many components: the nearest way down is one component for all. The others lose their images, with these their weight,
and with it the probability that anything ever comes back.
"""

import torch
from jaxtyping import Bool, Float, Int8, Int64
from torch import Tensor

from pipeline.model import DiagonalNormal
from pipeline.training.hints import DIFFERENT, SAME, Hints

_NEAREST = 1e-6  # added to distances of images that are to differ: -log(1 - s) stays finite, as do its gradients


class HintTerm:
    """The term of all facets that take part, on the device of the model.

    Args:
        hints: what is known.
        first_facet: shallowest facet that takes part.
        weight: of the term.
        device: of the model.

    Attributes:
        rows: of the hinted images.
    """

    def __init__(self, hints: Hints, first_facet: int, weight: float, device: torch.device) -> None:
        self.rows = torch.from_numpy(hints.rows).to(device)
        self._first_facet, self._weight = first_facet, weight
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
            total = total + fade_in[place] * pair_loss(distances(posteriors[place]), relation).sum()
        return self._weight * total


def distances(qz: DiagonalNormal) -> Float[Tensor, "seed drawn drawn"]:
    """Return -log s of all pairs of images: Bhattacharyya's distance, had all posteriors their mean variance.

    The variances are a scale that does not move: hints act on the means, how sure of its latents a model can be is the
    bound's affair.
    """
    variance = qz.variance.detach().mean(1)[:, None, None]
    difference = qz.mean[:, :, None] - qz.mean[:, None]
    return (difference.square() / (8.0 * variance)).sum(-1)


def pair_loss(
    distance: Float[Tensor, "seed drawn drawn"], relation: Int8[Tensor, "seed drawn drawn"]
) -> Float[Tensor, " seed"]:
    """Return the mean of -log s over same pairs plus that of -log(1 - s) over different ones; 0 where there are none.

    Args:
        distance: -log s.
        relation: symmetric; that of an image with itself must be unknown.
    """
    apart = -torch.expm1(-(distance + _NEAREST))
    return _mean(distance, relation == SAME) - _mean(apart.log(), relation == DIFFERENT)


def _mean(values: Float[Tensor, "seed drawn drawn"], which: Bool[Tensor, "seed drawn drawn"]) -> Float[Tensor, " seed"]:
    return (values * which).sum((1, 2)) / which.sum((1, 2)).clamp_min(1)
