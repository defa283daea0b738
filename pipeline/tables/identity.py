"""Names of clusters that survive retraining.

A component is only a position in one model. At publish the components of a new model are matched to the clusters in
service by the images that both assign; a match keeps its ``cluster_uid``, everything else gets a new one from a counter
that never goes back.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int64

Overlap = Int64[np.ndarray, "_old _new"]
"""Shared images by the component that the model in service gives them and the one that the new model gives them."""

# Above this share an old cluster lives on in a new one, or a new one is made of an old one.
_MOST = 0.5


@dataclass(frozen=True)
class Identity:
    """All uids ever given in one experiment.

    Attributes:
        next_number: per facet, the number of the next new uid.
        maps: model version to the uids of its components, one tuple a facet; an entry is never changed.
        minted_by: uid to the model version that it was made for.
    """

    next_number: tuple[int, ...] = ()
    maps: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    minted_by: Mapping[str, str] = field(default_factory=dict)

    def with_model(
        self,
        model_version: str,
        n_components: Sequence[int],
        *,
        served: str | None = None,
        overlaps: Sequence[Overlap] = (),
        min_jaccard: float = 0.0,
    ) -> "Identity":
        """Return the identities with those of one more model; a known model keeps the map that it has.

        Args:
            model_version: of the new model.
            n_components: of each of its facets.
            served: the model in service, which hands on its uids; None where there is none.
            overlaps: one for each facet that both models have.
            min_jaccard: images in both clusters over images in either, among the shared ones, that a match needs.
        """
        if model_version in self.maps:
            return self
        numbers = [*self.next_number, *[0] * (len(n_components) - len(self.next_number))]
        uids: list[tuple[str, ...]] = []
        for facet, count in enumerate(n_components):
            kept: Mapping[int, str] = {}
            if served is not None and facet < len(overlaps):
                old = self.maps[served][facet]
                kept = {new: old[place] for new, place in match(overlaps[facet], min_jaccard).items()}
            fresh = iter(range(numbers[facet], numbers[facet] + count - len(kept)))
            uids.append(tuple(kept.get(new) or f"f{facet}-c{next(fresh):03d}" for new in range(count)))
            numbers[facet] += count - len(kept)
        minted = {uid: model_version for facet in uids for uid in facet if uid not in self.minted_by}
        return Identity(tuple(numbers), {**self.maps, model_version: tuple(uids)}, {**self.minted_by, **minted})


def match(overlap: Overlap, min_jaccard: float) -> dict[int, int]:
    """Return for new components the old one whose name they keep: at most one each way.

    The pairs are those of the one-to-one assignment with most shared images (Hungarian method); of these, the ones with
    at least one shared image and a Jaccard index of at least ``min_jaccard`` count.
    """
    # Only publishing needs scipy; reading tables must start fast.
    from scipy.optimize import linear_sum_assignment

    either = overlap.sum(axis=1, keepdims=True) + overlap.sum(axis=0, keepdims=True) - overlap
    pairs = zip(*linear_sum_assignment(overlap, maximize=True), strict=True)
    return {
        int(new): int(old)
        for old, new in pairs
        if overlap[old, new] > 0 and overlap[old, new] >= min_jaccard * either[old, new]
    }


def descent(overlap: Overlap, old_uids: Sequence[str], new_uids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield what became of the clusters of one facet, one row of ``lineage`` for each pair that belongs together.

    ``kind`` is ``kept`` (same uid), ``replaced`` (most of each is in the other, yet the uid is new), ``split`` (most of
    the new cluster comes from the old one) or ``merge`` (most of the old cluster went into the new one).
    """
    old_sizes, new_sizes = overlap.sum(axis=1), overlap.sum(axis=0)
    for old, new in np.argwhere(overlap > 0):
        shared = int(overlap[old, new])
        old_share, new_share = shared / int(old_sizes[old]), shared / int(new_sizes[new])
        kind = _kind(old_uids[old] == new_uids[new], old_share > _MOST, new_share > _MOST)
        if kind is not None:
            yield {
                "old_uid": old_uids[old],
                "new_uid": new_uids[new],
                "kind": kind,
                "overlap": shared,
                "old_share": old_share,
                "new_share": new_share,
            }


def _kind(is_same: bool, is_most_of_old: bool, is_most_of_new: bool) -> str | None:
    if is_same:
        return "kept"
    if is_most_of_old and is_most_of_new:
        return "replaced"
    if is_most_of_new:
        return "split"
    return "merge" if is_most_of_old else None
