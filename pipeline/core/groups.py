"""Groups of a facet's components, and the tree that they are cut from: what ``groups.json`` of a model folder holds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from pipeline.core.errors import DataError
from pipeline.core.storage import write_json
from pipeline.core.upgrades import GROUPS, read_record

_NAME = "groups.json"


@dataclass(frozen=True)
class MergeTree:
    """How the components of a facet join, two nodes a step, until one group holds them all.

    Attributes:
        merges: the two nodes of every step. Components are the nodes below K; step t makes node K + t, as in
            ``scipy.cluster.hierarchy``.
        confirmed: of every step, how far others tell apart what it joins, in [0, 1] (see
            :mod:`pipeline.groups.confirmed`); it never falls, so that a cut at a share is a cut at a number of groups.
    """

    merges: tuple[tuple[int, int], ...]
    confirmed: tuple[float, ...]

    @property
    def n_components(self) -> int:
        """K, the number of leaves."""
        return len(self.merges) + 1

    def n_groups(self, least_confirmed: float) -> int:
        """Return how many groups are left when only what is confirmed less is joined."""
        return self.n_components - sum(share < least_confirmed for share in self.confirmed)

    def cut(self, n_groups: int) -> Int[np.ndarray, " component"]:
        """Return the group of every component; groups are numbered in the order of their first component.

        Raises:
            ValueError: there are fewer components, or no group is asked for.
        """
        if not 1 <= n_groups <= self.n_components:
            raise ValueError(f"a tree of {self.n_components} components has no cut into {n_groups} groups")
        node = np.arange(self.n_components)
        for made, pair in enumerate(self.merges[: self.n_components - n_groups], self.n_components):
            node[np.isin(node, pair)] = made
        _, first, member = np.unique(node, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[member]


@dataclass(frozen=True)
class FacetGroups:
    """The groups of one facet.

    Attributes:
        n_groups: how many; 1 where others confirm no way to divide the facet.
        certainty: part of the half-samples of images that give this number.
        component_group: group of every component: the tree, cut into ``n_groups``.
        share: part of the images in every group, by summed responsibility.
        tree: from the components to one group.
        reproducibility: mean adjusted Rand index between the components of two healthy seeds; None with one seed.
    """

    n_groups: int
    certainty: float
    component_group: tuple[int, ...]
    share: tuple[float, ...]
    tree: MergeTree
    reproducibility: float | None


@dataclass(frozen=True)
class ModelGroups:
    """The groups of all facets of a published model, found without labels.

    Attributes:
        compared_with: whose refitted mixtures confirm divisions: those of the other healthy ``seeds``, or, of a seed
            alone, those of ``itself``, which show what sampling leaves open but not what another training would find.
        n_compared: how many clusterings these are.
        n_images: training images that were looked at.
        facets: one entry a facet.
    """

    compared_with: Literal["seeds", "itself"]
    n_compared: int
    n_images: int
    facets: tuple[FacetGroups, ...]


def write_groups(folder: Path, groups: ModelGroups) -> None:
    """Write ``groups.json`` into a model folder."""
    write_json(folder / _NAME, GROUPS.stamp(asdict(groups)))


def read_groups(folder: Path) -> ModelGroups | None:
    """Read ``groups.json`` of a model folder; None for a model of an earlier release, which formed no groups.

    Raises:
        DataError: it is damaged.
        ResourceError: a newer release wrote it.
    """
    path = folder / _NAME
    if not path.exists():
        return None
    record = read_record(path, GROUPS)
    try:
        facets = tuple(_facet(found) for found in record["facets"])
        return ModelGroups(record["compared_with"], record["n_compared"], record["n_images"], facets)
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path} must describe the groups of every facet, but {error!r}; train the model again"
        ) from None


def groups_of_components(folder: Path, n_components: Sequence[int]) -> ModelGroups | None:
    """Read the groups of a model with these components; None for a model of an earlier release, which formed none.

    Raises:
        DataError: they are damaged, or of other components.
        ResourceError: a newer release wrote them.
    """
    groups = read_groups(folder)
    if groups is not None:
        found = [len(facet.component_group) for facet in groups.facets]
        if found != list(n_components):
            raise DataError(
                f"{folder / _NAME} must give a group to {list(n_components)} components, got {found}; "
                "run facets check --repair"
            )
    return groups


def _facet(record: Mapping[str, Any]) -> FacetGroups:
    tree: Mapping[str, Sequence[Any]] = record["tree"]
    merges = tuple((int(one), int(other)) for one, other in tree["merges"])
    values = {
        **record,
        "component_group": tuple(record["component_group"]),
        "share": tuple(record["share"]),
        "tree": MergeTree(merges, tuple(tree["confirmed"])),
    }
    return FacetGroups(**values)
