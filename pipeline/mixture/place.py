"""How a fitted mixture becomes the prior of a facet."""

import numpy as np
import torch

from pipeline.mixture.fit import FittedMixture
from pipeline.model import MultiFacetVae

_LEAST_WEIGHT = 1e-6  # a component's logit stays finite


@torch.no_grad()
def place_mixture(model: MultiFacetVae, facet: int, index: int, fitted: FittedMixture) -> None:
    """Take a fit's means, covariances and (where learned) weights into one model of the seed axis."""
    prior = model.prior(facet)
    prior.means[index].copy_(torch.from_numpy(fitted.means))
    prior.covariance.place(index, torch.from_numpy(fitted.covariances))
    if model.params.mixing_weights == "learned":
        prior.mixing_logits[index].copy_(torch.from_numpy(np.log(np.maximum(fitted.weights, _LEAST_WEIGHT))))
