"""What clusters are called beside pictures of them."""

from collections.abc import Sequence

import numpy as np

from pipeline.core.layout import Layout
from pipeline.core.text import percent
from pipeline.evaluation.clusters import FacetClusters
from pipeline.evaluation.keys import facet_key
from pipeline.tables import History
from pipeline.tables.names import load_names


def cluster_titles(layout: Layout, model_version: str, clusters: Sequence[FacetClusters]) -> dict[str, list[str]]:
    """Return by facet for every component its name, uid or number, and the share of images in it.

    Args:
        layout: of the experiment.
        model_version: of the model; only the published one's clusters have uids, and names.
        clusters: of the images, one a facet.
    """
    called = _published_titles(layout, model_version)

    def titles(j: int, facet: FacetClusters) -> list[str]:
        shares = np.bincount(facet.cluster_id, minlength=facet.n_components) / len(facet.cluster_id)
        return [f"{called.get((j, c), f'component {c}')}, {percent(float(share))}" for c, share in enumerate(shares)]

    return {facet_key(j): titles(j, facet) for j, facet in enumerate(clusters)}


def _published_titles(layout: Layout, model_version: str) -> dict[tuple[int, int], str]:
    history = History(layout.published)
    version = history.current()
    if version is None or version.model_version != model_version:
        return {}
    names = load_names(layout.names, history.minted_by())
    return {
        (row["facet"], row["cluster_id"]): names.get(row["cluster_uid"], (row["cluster_uid"], ""))[0]
        for row in history.rows("clusters")
    }
