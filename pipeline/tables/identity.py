"""Names of clusters, and of the groups that they form, which survive retraining.

A component is only a position in one model. At publish the components of a new model are matched to the clusters in
service by the images that both assign; a match keeps its ``cluster_uid``, everything else gets a new one from a counter
that never goes back. Groups are matched likewise, by the images of their components.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Int64

Overlap = Int64[np.ndarray, "_old _new"]
"""Shared images by the component that the model in service gives them and the one that the new model gives them."""

Uids = tuple[tuple[str, ...], ...]
"""One a component, by facet."""

# Above this share an old cluster lives on in a new one, or a new one is made of an old one.
_MOST = 0.5


@dataclass(frozen=True)
class Identity:
    """All uids ever given in one experiment.

    Attributes:
        next_number: per facet, the number of the next new uid of a cluster.
        maps: model version to the uids of its components; an entry is never changed.
        minted_by: uid, of a cluster or a group, to the model version that it was made for.
        next_group: per facet, the number of the next new uid of a group.
        groups: model version to the uids of its components' groups; models of earlier releases have none.
    """

    next_number: tuple[int, ...] = ()
    maps: Mapping[str, Uids] = field(default_factory=dict)
    minted_by: Mapping[str, str] = field(default_factory=dict)
    next_group: tuple[int, ...] = ()
    groups: Mapping[str, Uids] = field(default_factory=dict)

    def columns(self, model_version: str) -> list[dict[str, tuple[str, ...]]]:
        """Return for each facet of a model the columns of uids: ``cluster_uid``, and ``group_uid`` if it has groups.

        Each holds one uid a component.
        """
        found = {"cluster_uid": self.maps[model_version]}
        if model_version in self.groups:
            found["group_uid"] = self.groups[model_version]
        return [{name: facets[j] for name, facets in found.items()} for j in range(len(found["cluster_uid"]))]

    def with_model(
        self,
        model_version: str,
        n_components: Sequence[int],
        component_groups: Sequence[Sequence[int]] | None = None,
        *,
        served: str | None = None,
        overlaps: Sequence[Overlap] = (),
        min_jaccard: float = 0.0,
    ) -> "Identity":
        """Return the identities with those of one more model; a known model keeps the maps that it has.

        Args:
            model_version: of the new model.
            n_components: of each of its facets.
            component_groups: for each facet the group of every component; None where they form none.
            served: the model in service, which hands on its uids; None where there is none.
            overlaps: one for each facet that both models have.
            min_jaccard: images in both clusters over images in either, among the shared ones, that a match needs.
        """
        if model_version in self.maps:
            return self
        old = self.maps.get(served or "", ())
        uids, numbers = _named("c", n_components, old, overlaps, self.next_number, min_jaccard)
        named = replace(
            self,
            next_number=numbers,
            maps={**self.maps, model_version: uids},
            minted_by=self._minted_with(model_version, uids),
        )
        if component_groups is None:
            return named
        old_groups = self.groups.get(served or "", ())
        return named._with_groups(model_version, component_groups, old_groups, overlaps, min_jaccard)

    def _with_groups(
        self,
        model_version: str,
        component_groups: Sequence[Sequence[int]],
        old: Uids,
        overlaps: Sequence[Overlap],
        min_jaccard: float,
    ) -> "Identity":
        shared = [overlap_of_groups(*facet) for facet in zip(overlaps, old, component_groups, strict=False)]
        old_names = [tuple(dict.fromkeys(of_facet)) for of_facet in old]
        counts = [max(of_facet) + 1 for of_facet in component_groups]
        names, numbers = _named("g", counts, old_names, shared, self.next_group, min_jaccard)
        of_components = tuple(
            tuple(uids[group] for group in of_facet) for uids, of_facet in zip(names, component_groups, strict=True)
        )
        return replace(
            self,
            next_group=numbers,
            groups={**self.groups, model_version: of_components},
            minted_by=self._minted_with(model_version, names),
        )

    def _minted_with(self, model_version: str, uids: Uids) -> dict[str, str]:
        minted = {uid: model_version for facet in uids for uid in facet if uid not in self.minted_by}
        return {**self.minted_by, **minted}


def overlap_of_groups(overlap: Overlap, old: Sequence[Any], new: Sequence[Any]) -> Overlap:
    """Return the images that groups share, groups in the order of their first component.

    Args:
        overlap: of the components.
        old: group of every component of the model in service.
        new: group of every component of the new model.
    """
    rows, columns = ([list(dict.fromkeys(groups)).index(group) for group in groups] for groups in (old, new))
    shared = np.zeros((max(rows) + 1, max(columns) + 1), np.int64)
    np.add.at(shared, np.ix_(rows, columns), overlap)
    return shared


def _named(
    letter: str,
    counts: Sequence[int],
    old: Sequence[Sequence[str]],
    overlaps: Sequence[Overlap],
    next_number: Sequence[int],
    min_jaccard: float,
) -> tuple[Uids, tuple[int, ...]]:
    """Return the uids of a new model's clusters or groups, and the numbers that come next."""
    numbers = [*next_number, *[0] * (len(counts) - len(next_number))]
    uids: list[tuple[str, ...]] = []
    for facet, count in enumerate(counts):
        kept: Mapping[int, str] = {}
        if facet < min(len(old), len(overlaps)):
            kept = {new: old[facet][place] for new, place in match(overlaps[facet], min_jaccard).items()}
        fresh = iter(range(numbers[facet], numbers[facet] + count - len(kept)))
        uids.append(tuple(kept.get(new) or f"f{facet}-{letter}{next(fresh):03d}" for new in range(count)))
        numbers[facet] += count - len(kept)
    return tuple(uids), tuple(numbers)


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


def lineage_rows(
    overlap: Overlap, old: Mapping[str, Sequence[str]], new: Mapping[str, Sequence[str]]
) -> Iterator[dict[str, Any]]:
    """Yield what became of the clusters of one facet, and then of its groups where both models have some.

    Args:
        overlap: images that the components share.
        old: columns of uids of the model in service (see :meth:`Identity.columns`).
        new: those of the new model.
    """
    for row in descent(overlap, old["cluster_uid"], new["cluster_uid"]):
        yield {**row, "level": "cluster"}
    if "group_uid" in old and "group_uid" in new:
        names = [list(dict.fromkeys(uids["group_uid"])) for uids in (old, new)]
        for row in descent(overlap_of_groups(overlap, old["group_uid"], new["group_uid"]), *names):
            yield {**row, "level": "group"}


def descent(overlap: Overlap, old_uids: Sequence[str], new_uids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield what became of the clusters, or the groups, of one facet: a row for each pair that belongs together.

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
