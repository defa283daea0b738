"""From trained seeds to the groups of the published one."""

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from pipeline.core.contingency import adjusted_rand, contingency
from pipeline.core.groups import FacetGroups, ModelGroups
from pipeline.core.shapes import Inputs
from pipeline.groups.confirmed import Resp, overlap
from pipeline.groups.number import vote_on_number
from pipeline.groups.opinions import refitted_responsibilities, responsibilities
from pipeline.groups.tree import merge_components
from pipeline.model import MultiFacetVae

GROUP_IMAGES = 4000
"""Training images that groups are formed on."""


def find_groups(published: MultiFacetVae, seed: int, others: Iterable[MultiFacetVae], images: Inputs) -> ModelGroups:
    """Join the components of the published model, facet by facet, as far as the other seeds do not tell them apart.

    With one seed, refits of its mixtures on bootstrap samples take the place of the others. All models have a seed axis
    of length one.

    Args:
        published: the selected seed's model.
        seed: that seed.
        others: the models of the other healthy seeds; one is held at a time.
        images: training images, :data:`GROUP_IMAGES` or fewer.

    Raises:
        ModelError: one seed alone, and fewer images than components.
    """
    own = responsibilities(published, images)
    of_seeds = [responsibilities(other, images) for other in others]
    if of_seeds:
        compared = [list(of_facet) for of_facet in zip(*of_seeds, strict=True)]
        reproduced = [reproducibility([one, *rest]) for one, rest in zip(own, compared, strict=True)]
    else:
        compared = refitted_responsibilities(published, seed, images)
        reproduced = [None] * len(own)
    facets = tuple(group_facet(*of_facet) for of_facet in zip(own, compared, reproduced, strict=True))
    return ModelGroups("seeds" if of_seeds else "refits", len(compared[0]), len(images), facets)


def group_facet(own: Resp, others: Sequence[Resp], reproduced: float | None) -> FacetGroups:
    """Join the components of one facet.

    Args:
        own: responsibilities of the published components.
        others: of other clusterings of the same images, with equally many components.
        reproduced: the facet's reproducibility, if it is known.
    """
    tree = merge_components(overlap(own, others))
    n_groups, certainty = vote_on_number(own, others)
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
