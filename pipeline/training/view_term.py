"""What views add to the loss: a view belongs to the cluster of its image.

The term is the cross-entropy from the responsibilities of the image to those of the view, both at the posterior mean;
the image's are a target that does not move. It pulls on a facet in the phases after the one in which it joined: before
its clusters have formed, all views and images are alike where all are in one.

As with hints, views move latents, not the mixture, which goes on to describe them all (see
:mod:`pipeline.training.hint_term`).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.model import DiagonalNormal, MultiFacetVae
from pipeline.model.mixture_prior import MixturePrior
from pipeline.training.schedule import Chunk


class ViewTerm:
    """The term of some facets.

    Args:
        model: all seeds' models.
        facets: which, of those that take part.
        first_facet: shallowest facet that takes part.
        weight: of the term.
    """

    def __init__(self, model: MultiFacetVae, facets: Sequence[int], first_facet: int, weight: float) -> None:
        self._priors = {facet - first_facet: _fixed_prior(model, facet) for facet in facets}
        self._weight = weight

    def __call__(self, images: list[DiagonalNormal], views: list[DiagonalNormal]) -> Float[Tensor, ""]:
        """Return the weighted sum of the facets' terms, means over a batch, summed over seeds.

        Args:
            images: posteriors of the images, from the shallowest facet that takes part on.
            views: posteriors that the bound is made of.
        """
        terms = [
            _cross_entropy(prior.log_resp(images[place].mean), prior.log_resp(views[place].mean))
            for place, prior in self._priors.items()
        ]
        return self._weight * torch.stack(terms).mean(-1).sum()


def _fixed_prior(model: MultiFacetVae, facet: int) -> MixturePrior:
    """Return a facet's prior without gradients; its values are the model's own memory, so they move with it."""
    prior = MixturePrior(model.n_seeds, model.params, facet, component_std=1.0)
    for own, master in zip(prior.parameters(), model.prior(facet).parameters(), strict=True):
        own.data = master.data
    return prior.requires_grad_(False)


def settled_facets(facets: Sequence[int], chunk: Chunk) -> list[int]:
    """Return those of some facets that joined before the phase of a chunk; a single phase has none."""
    return [facet for facet in facets if facet > chunk.first_facet] if chunk.phase > 0 else []


def _cross_entropy(
    log_target: Float[Tensor, "seed batch component"], log_resp: Float[Tensor, "seed batch component"]
) -> Float[Tensor, "seed batch"]:
    """Return -Σ_c r_c log q_c in nats, with r as a constant."""
    return -(log_target.detach().exp() * log_resp).sum(-1)
