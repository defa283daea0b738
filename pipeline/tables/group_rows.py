"""Rows of the tables ``groups`` and ``merges``: what the clusters of a facet join to, and in which order."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.core.groups import MergeTree, ModelGroups
from pipeline.tables.identity import Identity

Row = dict[str, Any]


def group_rows(
    model_version: str, identity: Identity, groups: ModelGroups | None, clusters: Sequence[Mapping[str, Any]]
) -> list[Row]:
    """Return the rows of table ``groups``: one a group, by facet; none for a model whose components form none.

    Args:
        model_version: of the model.
        identity: all uids, with those of this model.
        groups: of the model.
        clusters: rows of table ``clusters``.
    """
    if groups is None or model_version not in identity.groups:
        return []
    rows: list[Row] = []
    for facet, uids in enumerate(identity.groups[model_version]):
        for uid in dict.fromkeys(uids):
            members = [row for row in clusters if row["group_uid"] == uid]
            rows.append(
                {
                    "facet": facet,
                    "group_uid": uid,
                    "clusters": [row["cluster_uid"] for row in members],
                    "size": sum(row["size"] for row in members),
                    "mixing_weight": sum(row["mixing_weight"] for row in members),
                    "certainty": groups.facets[facet].certainty,
                    "reproducibility": groups.facets[facet].reproducibility,
                    "minted_by": identity.minted_by[uid],
                    "model_version": model_version,
                    "hinted": members[0]["hinted"],
                }
            )
    return rows


def updated_groups(rows: Sequence[Row], clusters: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return the rows of ``groups`` for other sizes of the same clusters."""
    sizes: dict[str, int] = {}
    for cluster in clusters:
        if (uid := cluster.get("group_uid")) is not None:
            sizes[uid] = sizes.get(uid, 0) + cluster["size"]
    return [{**row, "size": sizes[row["group_uid"]]} for row in rows]


def merge_rows(model_version: str, identity: Identity, groups: ModelGroups | None) -> list[Row]:
    """Return the rows of table ``merges``: by facet, the steps that lead from single clusters to one group of all.

    Whoever wants n groups makes the steps that leave n or more.
    """
    if groups is None or model_version not in identity.groups:
        return []
    return [
        {"facet": facet, **step, "model_version": model_version}
        for facet, (of_facet, uids) in enumerate(zip(groups.facets, identity.maps[model_version], strict=True))
        for step in _steps(of_facet.tree, uids)
    ]


def _steps(tree: MergeTree, uids: Sequence[str]) -> Iterator[Row]:
    members = [[uid] for uid in uids]
    for n_made, ((one, other), confirmed) in enumerate(zip(tree.merges, tree.confirmed, strict=True), 1):
        yield {
            "n_groups": tree.n_components - n_made,
            "clusters": members[one],
            "joined_with": members[other],
            "confirmed": confirmed,
        }
        members.append([*members[one], *members[other]])
