"""How many pairs of images come out right about which people said something that the model was not told.

The one number about a facet that needs no labels but a few hints: of the hinted images a part is kept from training
(:mod:`pipeline.datasets.prepare.keep_aside`), and the clusters of these are judged pair by pair.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from pipeline.core.contingency import contingency
from pipeline.core.groups import ModelGroups
from pipeline.datasets.store.hints import PreparedHints
from pipeline.evaluation.agreement import Clustering
from pipeline.evaluation.keys import facet_key


@dataclass(frozen=True)
class JudgedPairs:
    """Pairs of kept-aside images of which something is known, and how many come out right.

    Attributes:
        same: pairs that are to share their cluster.
        same_right: of these, pairs that do.
        different: pairs that are not to share it.
        different_right: of these, pairs that do not.
        chance: how many of all would come out right on average, were all images dealt to clusters of the same sizes.
    """

    same: int
    same_right: int
    different: int
    different_right: int
    chance: float


def judge_hints(
    hints: PreparedHints, components: Sequence[Clustering], groups: ModelGroups | None
) -> dict[str, dict[str, Any]]:
    """Return for every facet with such pairs how many images were kept aside, and :class:`JudgedPairs` as dictionaries.

    Args:
        hints: what people said.
        components: of every facet, of all images of both splits.
        groups: that the components form.

    Returns:
        By facet: ``kept_aside``, images; ``clusters``, pairs by components; ``groups``, by groups, where there are any.
    """
    found: dict[str, dict[str, Any]] = {}
    aside = hints.among(hints.is_aside)
    for facet, clustering in enumerate(components):
        judged = judge_pairs(aside, facet, clustering)
        if judged.same + judged.different:
            tree: dict[str, Any] = {"kept_aside": len(aside.hinted(facet)), "clusters": asdict(judged)}
            if groups is not None:
                group = np.array(groups.facets[facet].component_group, np.int32)
                n_groups = groups.facets[facet].n_groups
                joined = Clustering(group[clustering.train], group[clustering.test], n_groups)
                tree["groups"] = asdict(judge_pairs(aside, facet, joined))
            found[facet_key(facet)] = tree
    return found


def judge_pairs(hints: PreparedHints, facet: int, clusters: Clustering) -> JudgedPairs:
    """Judge all pairs of hinted images of which something is known: by their labels, or because it was said of the two.

    Args:
        hints: those to judge by.
        facet: number of the facet.
        clusters: of all images of both splits.
    """
    of_image = _clusters_of(hints, clusters)
    labelled = hints.labels[hints.labels[:, 1] == facet]
    label_of = dict(zip(labelled[:, 0].tolist(), labelled[:, 2].tolist(), strict=True))
    n_labels = int(labelled[:, 2].max(initial=-1)) + 1
    table = contingency(of_image[labelled[:, 0]], labelled[:, 2], clusters.n_components, n_labels)
    same, same_right = _pairs(table.sum(0)), _pairs(table)
    different = _pairs(np.array(len(labelled))) - same
    different_right = different - (_pairs(table.sum(1)) - same_right)
    for a, b, of_facet, is_same in hints.pairs.tolist():
        if of_facet != facet or (a in label_of and b in label_of):
            continue
        share = bool(of_image[a] == of_image[b])
        same, same_right = same + is_same, same_right + (is_same and share)
        different, different_right = different + (1 - is_same), different_right + (not is_same and not share)
    share = _chance_to_share(clusters)
    return JudgedPairs(same, int(same_right), different, int(different_right), same * share + different * (1 - share))


def _clusters_of(hints: PreparedHints, clusters: Clustering) -> Int[np.ndarray, " hinted"]:
    found = np.empty(len(hints.rows), np.int64)
    found[hints.is_test] = clusters.test[hints.rows[hints.is_test]]
    found[~hints.is_test] = clusters.train[hints.rows[~hints.is_test]]
    return found


def _chance_to_share(clusters: Clustering) -> float:
    """Return the probability that two images share a cluster when all are dealt at random, sizes kept."""
    ids = np.concatenate([clusters.train, clusters.test])
    return _pairs(np.bincount(ids, minlength=clusters.n_components)) / max(1, _pairs(np.array(len(ids))))


def _pairs(counts: Int[np.ndarray, "*shape"]) -> int:
    """Return how many pairs there are within sets of some sizes."""
    sizes = counts.astype(np.int64)
    return int((sizes * (sizes - 1) // 2).sum())
