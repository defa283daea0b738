"""Which images the page shows: choices from assignments alone, the same whenever the assignments are the same."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from pipeline.core.records import FacetAssignment

Chosen = Int[np.ndarray, " _"]
ClusterIds = Int[np.ndarray, " image"]

_ANCHOR_CONFIDENCE = 0.5


@runtime_checkable
class Membership(Protocol):
    """How surely images belong to the components of a facet."""

    @property
    def cluster_id(self) -> Int[np.ndarray, " image"]:
        """Component of every image."""
        ...

    @property
    def confidence(self) -> Float[np.ndarray, " image"]:
        """Responsibility of that component."""
        ...

    @property
    def typicality(self) -> Float[np.ndarray, " image"]:
        """Log p(z_j) in nats."""
        ...


def surest_members(facet: Membership, n_components: int, n_members: int) -> list[Chosen]:
    """Return the surest images of every component, surest first; equally sure ones by typicality, then by place."""
    order = np.lexsort((-facet.typicality, -facet.confidence, facet.cluster_id))
    return _first_of_each(facet.cluster_id[order], order, n_components, n_members)


def borderline_members(facet: FacetAssignment, n_components: int, n_members: int) -> list[Chosen]:
    """Return the least sure images of every component, least sure first."""
    order = np.lexsort((facet.typicality, facet.confidence, facet.cluster_id))
    return _first_of_each(facet.cluster_id[order], order, n_components, n_members)


def lowest(values: Float[np.ndarray, " image"], n_chosen: int) -> Chosen:
    """Return the places of the smallest values, smallest first, equal ones by place."""
    return np.argsort(values, kind="stable")[:n_chosen]


def random_images(n_images: int, n_chosen: int, generator: np.random.Generator) -> Chosen:
    """Return places drawn without replacement, in increasing order."""
    return np.sort(generator.permutation(n_images)[:n_chosen])


def order_by_confidence(
    facet: Membership, is_test: Bool[np.ndarray, " image"], n_components: int
) -> Int[np.ndarray, " component"]:
    """Return all components by the mean confidence of their test members, surest first (paper, Fig. 4).

    Components without test members follow by their training members; those without images come last.
    """
    on_test = mean_confidence(facet, n_components, is_test)
    on_all = mean_confidence(facet, n_components)
    group = np.where(~np.isnan(on_test), 0, np.where(~np.isnan(on_all), 1, 2))
    return np.lexsort((-np.nan_to_num(np.where(group == 0, on_test, on_all)), group))


def mean_confidence(
    facet: Membership, n_components: int, among: Bool[np.ndarray, " image"] | None = None
) -> Float[np.ndarray, " component"]:
    """Return the mean confidence of each component's images; nan where it has none."""
    chosen = slice(None) if among is None else among
    ids, confidence = facet.cluster_id[chosen], facet.confidence[chosen].astype(np.float64)
    counts = np.bincount(ids, minlength=n_components)
    totals = np.bincount(ids, confidence, minlength=n_components)
    return np.divide(totals, counts, out=np.full(n_components, np.nan), where=counts > 0)


def confidence_histogram(facet: FacetAssignment, n_components: int) -> Int[np.ndarray, "component 10"]:
    """Return the members of each component by confidence in ten equal bins."""
    bins = np.clip((facet.confidence * 10).astype(np.int64), 0, 9)
    return np.bincount(facet.cluster_id * 10 + bins, minlength=n_components * 10).reshape(n_components, 10)


def cross_examples(first: FacetAssignment, second: FacetAssignment, shape: tuple[int, int]) -> Int[np.ndarray, "r c"]:
    """Return for every pair of components the image that is surest of both; -1 where there is none."""
    cells = first.cluster_id.astype(np.int64) * shape[1] + second.cluster_id
    surest = np.lexsort((-first.typicality - second.typicality, -first.confidence * second.confidence, cells))
    found, places = np.unique(cells[surest], return_index=True)
    examples = np.full(shape[0] * shape[1], -1)
    examples[found] = surest[places]
    return examples.reshape(shape)


def largest_components(sizes: Int[np.ndarray, " component"], n_chosen: int) -> Int[np.ndarray, " chosen"]:
    """Return the components that hold images, largest first and so many at most."""
    order = np.argsort(-sizes, kind="stable")
    return order[: min(n_chosen, int((sizes > 0).sum()))]


def diverse_images(facets: Sequence[FacetAssignment], candidates: Chosen, n_chosen: int) -> Chosen:
    """Choose images, one after the other, that bring the most images' worth of clusters not seen yet.

    Args:
        facets: assignments of all images.
        candidates: places to choose from; those unsure in a facet are taken only when nothing else is left.
        n_chosen: how many at most.
    """
    ids = np.stack([facet.cluster_id[candidates] for facet in facets])
    surety = np.min([facet.confidence[candidates] for facet in facets], axis=0)
    gain = np.stack([_shares(facet)[own] for facet, own in zip(facets, ids, strict=True)])
    gain = gain * np.where(surety < _ANCHOR_CONFIDENCE, 1e-3, 1.0)
    left = np.ones(len(candidates), bool)
    chosen: list[int] = []
    while len(chosen) < min(n_chosen, len(candidates)):
        best = int(np.lexsort((-surety, -gain.sum(axis=0), ~left))[0])
        chosen.append(best)
        left[best] = False
        gain = np.where(ids == ids[:, best : best + 1], gain * 0.1, gain)
    return candidates[np.array(chosen, np.int64)]


def _shares(facet: FacetAssignment) -> Float[np.ndarray, " component"]:
    sizes = np.bincount(facet.cluster_id)
    return sizes / sizes.sum()


def _first_of_each(ids: ClusterIds, order: Chosen, n_components: int, n_members: int) -> list[Chosen]:
    edges = np.searchsorted(ids, np.arange(n_components + 1))
    return [order[start : min(stop, start + n_members)] for start, stop in pairwise(edges)]
