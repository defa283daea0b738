"""Sums over a facet's rows as they stream by, and the table ``clusters`` made of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.tables.identity import Identity
from pipeline.tables.versions import Totals

N_EXEMPLARS = 8

_CONFIDENCE_UNIT = 2**24


class Tally:
    """Counts the rows of one facet per component; sums are integers, so that order and additions never matter."""

    def __init__(self, n_components: int) -> None:
        self._sizes = np.zeros(n_components, np.int64)
        self._confidence = np.zeros(n_components, np.int64)

    def add(self, rows: pa.RecordBatch) -> None:
        """Take rows into account."""
        cluster = rows.column("cluster_id").to_numpy()
        units = np.rint(rows.column("confidence").to_numpy().astype(np.float64) * _CONFIDENCE_UNIT)
        self._sizes += np.bincount(cluster, minlength=len(self._sizes))
        # Exact in float64: a group of rows sums to far less than 2**53.
        self._confidence += np.bincount(cluster, units, minlength=len(self._sizes)).astype(np.int64)

    def totals(self) -> Totals:
        """Return the sums so far."""
        return Totals(tuple(self._sizes.tolist()), tuple(self._confidence.tolist()))


class Exemplars:
    """Keeps the most typical images of each component: those with the highest log p(z_j)."""

    def __init__(self) -> None:
        self._cluster = np.empty(0, np.int32)
        self._typicality = np.empty(0, np.float32)
        self._ids = np.empty(0, object)

    def add(self, rows: pa.RecordBatch) -> None:
        """Take rows into account; among equals the earlier row wins."""
        cluster = rows.column("cluster_id").to_numpy()
        typicality = rows.column("typicality").to_numpy()
        best = _best_of_each(cluster, typicality)
        ids = rows.column("image_id").take(pa.array(best)).to_numpy(zero_copy_only=False)
        self._cluster = np.concatenate([self._cluster, cluster[best]])
        self._typicality = np.concatenate([self._typicality, typicality[best]])
        self._ids = np.concatenate([self._ids, ids])
        best = _best_of_each(self._cluster, self._typicality)
        self._cluster, self._typicality, self._ids = self._cluster[best], self._typicality[best], self._ids[best]

    def by_component(self) -> dict[int, list[str]]:
        """Return image ids per component, the most typical first; components without images are left out."""
        return {
            int(component): self._ids[self._cluster == component].tolist() for component in np.unique(self._cluster)
        }


def add_totals(totals: Sequence[Totals], more: Sequence[Totals], sign: int = 1) -> tuple[Totals, ...]:
    """Return the sums of two sets of images; ``sign`` -1 takes the second away."""
    return tuple(
        Totals(
            tuple(a + sign * b for a, b in zip(have.sizes, new.sizes, strict=True)),
            tuple(a + sign * b for a, b in zip(have.confidence, new.confidence, strict=True)),
        )
        for have, new in zip(totals, more, strict=True)
    )


def cluster_rows(
    model_version: str,
    identity: Identity,
    totals: Sequence[Totals],
    mixing_weights: Sequence[Sequence[float]],
    exemplars: Sequence[Mapping[int, list[str]]],
    hinted: Sequence[int],
) -> list[dict[str, Any]]:
    """Return the rows of table ``clusters``: one a component, empty ones too, by facet and component.

    Args:
        model_version: of the model.
        identity: all uids, with those of this model.
        totals: of every facet.
        mixing_weights: of every facet and component.
        exemplars: of every facet, by component.
        hinted: of every facet, on how many images people had told the model something about it.
    """
    return [
        {
            "facet": facet,
            "cluster_id": component,
            "cluster_uid": uid,
            **sizes_of(totals[facet], component),
            "mixing_weight": mixing_weights[facet][component],
            "exemplars": exemplars[facet].get(component, []),
            "minted_by": identity.minted_by[uid],
            "model_version": model_version,
            "group_uid": columns["group_uid"][component] if "group_uid" in columns else None,
            "hinted": hinted[facet],
        }
        for facet, columns in enumerate(identity.columns(model_version))
        for component, uid in enumerate(columns["cluster_uid"])
    ]


def sizes_of(totals: Totals, component: int) -> dict[str, Any]:
    """Return the columns of ``clusters`` that follow from the sums of a facet."""
    size = totals.sizes[component]
    confidence = totals.confidence[component] / _CONFIDENCE_UNIT
    return {"size": size, "mean_confidence": confidence / size if size else None}


def _best_of_each(cluster: np.ndarray, typicality: np.ndarray) -> np.ndarray:
    order = np.lexsort((-typicality, cluster))
    ordered = cluster[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    places = np.arange(len(order))
    rank = places - np.maximum.accumulate(np.where(is_first, places, 0))
    return order[rank < N_EXEMPLARS]
