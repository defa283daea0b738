"""What is known of a model without labels: bound and clusters of held-out images, and its facets' condition."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int16
from torch import Tensor

from pipeline.core.seeding import torch_generator
from pipeline.core.shapes import Inputs
from pipeline.model import MultiFacetVae
from pipeline.model.inputs import encode_blocks, for_every_seed

_BLOCK = 2048
# A latent dimension is active if the variance of its posterior mean exceeds this part of its mean posterior variance:
# the idea of Burda et al. (2016), free of the latent's scale, which a mixture prior leaves open.
_ACTIVE_RATIO = 0.1
_MOST_IMAGES = 20_000  # for the facets' condition


@dataclass(frozen=True)
class FacetHealth:
    """Condition of one facet on training images.

    Attributes:
        occupied: components with at least one image.
        max_share: part of the images in the largest cluster.
        entropy: of the cluster sizes, over log K (1 for a facet of one component).
        active_units: latent dimensions whose posterior means vary.
        confidence: mean of the largest responsibility.
        certainty: mutual information of image and component over the entropy of the components' mean responsibilities,
            in [0, 1]: how much of what a component could tell is told. Unlike the confidence it does not grow where few
            components are in use.
    """

    occupied: int
    max_share: float
    entropy: float
    active_units: int
    confidence: float
    certainty: float


@torch.no_grad()
def mean_bound(
    model: MultiFacetVae,
    images: Inputs,
    first_facet: int,
    fade_in: Sequence[float],
    precision: torch.dtype,
) -> Float64[np.ndarray, "seed term"]:
    """Return mean log p(x | z), then KL_z and KL_c of every facet (0 for waiting ones), nats an image, per seed.

    All seeds and all calls see the same noise, so that differences are the models'.
    """
    model.eval()
    like = model.prior(0).means
    n_facets = model.params.n_facets
    fade = like.new_tensor(list(fade_in))
    generator = torch_generator(0, "train", "validation-noise")
    total = torch.zeros(model.n_seeds, 1 + 2 * n_facets, dtype=torch.float64)
    for block in images.split(_BLOCK):
        x = for_every_seed(model, block)
        drawn = torch.randn(1, 1, len(block), sum(model.params.latent_dims), generator=generator)
        noise = drawn.to(like).expand(1, model.n_seeds, -1, -1).split(model.params.latent_dims, dim=-1)
        terms = model.terms(x, noise[first_facet:], fade, precision)
        total[:, 0] += terms.log_px.double().sum(1).cpu()
        for i, (kl_z, kl_c) in enumerate(zip(terms.kl_z, terms.kl_c, strict=True)):
            total[:, 1 + 2 * (first_facet + i)] += kl_z.double().sum(1).cpu()
            total[:, 2 + 2 * (first_facet + i)] += kl_c.double().sum(1).cpu()
    return (total / len(images)).numpy()


@torch.no_grad()
def held_out_clusters(model: MultiFacetVae, images: Inputs) -> Int16[Tensor, "seed facet image"]:
    """Return the component with the largest exact responsibility, of every facet."""
    blocks = []
    for posteriors in encode_blocks(model, images.split(_BLOCK)):
        found = [model.prior(facet).exact_log_resp(qz).argmax(-1) for facet, qz in enumerate(posteriors)]
        blocks.append(torch.stack(found, 1).to(torch.int16).cpu())
    return torch.cat(blocks, 2)


@torch.no_grad()
def facet_health(model: MultiFacetVae, images: Inputs) -> list[list[FacetHealth]]:
    """Return the condition of every facet of every seed's model on (a regular subset of) the images."""
    subset = images[:: max(1, -(-len(images) // _MOST_IMAGES))]
    blocks: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in range(model.params.n_facets)]
    for posteriors in encode_blocks(model, subset.split(_BLOCK)):
        for facet, qz in enumerate(posteriors):
            blocks[facet].append((qz.mean, qz.variance, model.prior(facet).exact_log_resp(qz)))
    whole = [[torch.cat(parts, 1) for parts in zip(*of_facet, strict=True)] for of_facet in blocks]
    return [[_condition(*(part[index] for part in of_facet)) for of_facet in whole] for index in range(model.n_seeds)]


def _condition(mean: Tensor, variance: Tensor, log_resp: Tensor) -> FacetHealth:
    n_components = log_resp.shape[1]
    best, cluster = log_resp.max(1)
    counts = torch.bincount(cluster, minlength=n_components).double()
    share = counts / counts.sum()
    entropy = -(share[share > 0] * share[share > 0].log()).sum().item()
    return FacetHealth(
        occupied=int((counts > 0).sum()),
        max_share=float(share.max()),
        entropy=entropy / float(np.log(n_components)) if n_components > 1 else 1.0,
        active_units=int((mean.var(0) > _ACTIVE_RATIO * variance.mean(0)).sum()),
        confidence=float(best.exp().mean()),
        certainty=_certainty(log_resp.double()),
    )


def _certainty(log_resp: Float64[Tensor, "image component"]) -> float:
    resp = log_resp.exp()
    left_open = torch.special.entr(resp).sum(1).mean()
    possible = torch.special.entr(resp.mean(0)).sum()
    return 1.0 - float(left_open / possible) if possible > 0 else 0.0
