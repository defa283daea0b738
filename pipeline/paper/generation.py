"""Images out of the model: samples of a cluster (paper, Fig. 6) and of the whole model."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import UInt8

from pipeline.core.seeding import derive_seed, numpy_generator, torch_generator
from pipeline.core.shapes import Inputs
from pipeline.model import FrozenModel
from pipeline.model.inputs import as_pictures, as_stored

_BLOCK = 1024


def cluster_samples(
    model: FrozenModel, facet: int, components: Sequence[int], n_samples: int, temperature: float, seed: int
) -> UInt8[np.ndarray, "cluster sample channel height width"]:
    """Generate images of clusters: z_j ~ N(μ_c, τ Σ_c), the other facets from their whole mixtures.

    The images of a cluster do not depend on which other clusters are asked for.

    Args:
        model: a trained model.
        facet: whose clusters.
        components: which clusters.
        n_samples: images of each.
        temperature: τ, scales every covariance.
        seed: of the noise.
    """
    drawn = [
        as_pictures(
            model.spec,
            model.sample(facet, c, n_samples, temperature, torch_generator(seed, "cluster samples", facet, c)),
        )
        for c in components
    ]
    return np.stack(drawn) if drawn else np.empty((0, n_samples, *model.spec.shape), np.uint8)


def model_samples(model: FrozenModel, n_samples: int, temperature: float, seed: int) -> Iterator[Inputs]:
    """Yield ``n_samples`` images from the whole model in random order, in blocks.

    A component of facet 0 is drawn by its mixing weight; given it, :meth:`FrozenModel.sample` draws the rest.
    """
    rng = numpy_generator(seed, "model samples")
    for block, start in enumerate(range(0, n_samples, _BLOCK)):
        n_block = min(_BLOCK, n_samples - start)
        weights = model.mixture(0).weights
        counts = rng.multinomial(n_block, weights / weights.sum())
        generator = torch_generator(derive_seed(seed, "model samples", block))
        drawn = [
            model.sample(0, component, int(count), temperature, generator)
            for component, count in enumerate(counts)
            if count
        ]
        yield as_stored(model.spec, torch.cat(drawn))[torch.from_numpy(rng.permutation(n_block))]
