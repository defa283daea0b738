"""From trained seeds to the groups of the published one."""

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Shaped

from pipeline.core.contingency import adjusted_rand, contingency
from pipeline.core.groups import FacetGroups, ModelGroups
from pipeline.core.hints import Hints
from pipeline.core.shapes import Inputs
from pipeline.groups.confirmed import Resp, overlap
from pipeline.groups.hinted import CannotLink, cannot_links
from pipeline.groups.number import vote_on_number
from pipeline.groups.opinions import refitted_responsibilities, responsibilities
from pipeline.groups.tree import merge_components
from pipeline.model import MultiFacetVae

Hinted = tuple[Hints, Shaped[torch.Tensor, "hinted channel height width"]]
"""Hints, and the images that they are about."""

GROUP_IMAGES = 4000
"""Training images that groups are formed on."""

_REFITS_A_SEED = 2
_REFITS_ALONE = 4  # of the only seed


def find_groups(
    published: MultiFacetVae,
    seed: int,
    others: Iterable[tuple[int, MultiFacetVae]],
    images: Inputs,
    hinted: Hinted | None = None,
) -> ModelGroups:
    """Join the components of the published model, facet by facet, as far as the other seeds do not tell them apart.

    Each of them speaks with refits of its mixtures (see :mod:`pipeline.groups.opinions`); a seed alone, with refits of
    its own. All models have a seed axis of length one.

    Args:
        published: the selected seed's model.
        seed: that seed.
        others: the other healthy seeds and their models; one is held at a time.
        images: training images, :data:`GROUP_IMAGES` or fewer.
        hinted: components whose images a person told apart stay apart.
    """
    own = responsibilities(published, images)
    trained: list[list[Resp]] = [[one] for one in own]
    compared: list[list[Resp]] = [[] for _ in own]
    for other, model in others:
        for facet, resp in enumerate(responsibilities(model, images)):
            trained[facet].append(resp)
        for facet, refits in enumerate(refitted_responsibilities(model, other, images, _REFITS_A_SEED)):
            compared[facet] += refits
    is_alone = not compared[0]
    if is_alone:
        compared = refitted_responsibilities(published, seed, images, _REFITS_ALONE)
    facets = tuple(
        group_facet(one, rest, None if is_alone else reproducibility(seeds), told)
        for one, rest, seeds, told in zip(own, compared, trained, _cannot_links(published, hinted), strict=True)
    )
    return ModelGroups("itself" if is_alone else "seeds", len(compared[0]), len(images), facets)


def _cannot_links(published: MultiFacetVae, hinted: Hinted | None) -> list[CannotLink | None]:
    if hinted is None:
        return [None] * published.params.n_facets
    hints, images = hinted
    return [cannot_links(resp, hints, facet) for facet, resp in enumerate(responsibilities(published, images))]


def group_facet(
    own: Resp, others: Sequence[Resp], reproduced: float | None, cannot_link: CannotLink | None = None
) -> FacetGroups:
    """Join the components of one facet.

    Args:
        own: responsibilities of the published components.
        others: of other clusterings of the same images, with equally many components.
        reproduced: the facet's reproducibility, if it is known.
        cannot_link: pairs of components that must not share a group.
    """
    tree = merge_components(overlap(own, others), cannot_link)
    at_least = 1 if cannot_link is None else tree.n_groups(1.0)
    n_groups, certainty = vote_on_number(own, others, cannot_link, at_least)
    component_group = tree.cut(n_groups)
    share = np.bincount(component_group, own.mean(0, dtype=np.float64), n_groups)
    return FacetGroups(n_groups, certainty, tuple(component_group.tolist()), tuple(share.tolist()), tree, reproduced)


def reproducibility(seeds: Sequence[Resp]) -> float:
    """Return the mean adjusted Rand index of the components that two seeds give to the same images.

    Args:
        seeds: responsibilities of two seeds or more.
    """
    components = [resp.argmax(1) for resp in seeds]
    n_components = seeds[0].shape[1]
    tables = (contingency(one, other, n_components, n_components) for one, other in combinations(components, 2))
    return float(np.mean([adjusted_rand(table) for table in tables]))
