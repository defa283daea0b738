"""Which components no group may join, as their hinted images differ: cannot-link constraints between components."""

import numpy as np
from jaxtyping import Bool

from pipeline.core.hints import DIFFERENT, Hints
from pipeline.groups.confirmed import Resp

CannotLink = Bool[np.ndarray, "component component"]


def cannot_links(resp: Resp, hints: Hints, facet: int) -> CannotLink:
    """Return the pairs of components whose hinted images are different, as a person said.

    A component speaks for the chunklet that most of its hinted images belong to; one without any joins whatever other
    clusterings do not tell it from.

    Args:
        resp: responsibilities of the facet's components for the hinted images, in the order of ``hints.rows``.
        hints: of images that were trained on.
        facet: the facet.
    """
    chunklet, relations = hints.chunklets[facet], hints.relations[facet]
    n_chunklets, n_components = len(relations) - 1, resp.shape[1]
    counts = np.zeros((n_components, n_chunklets + 1), np.int64)
    is_hinted = chunklet >= 0
    np.add.at(counts, (resp.argmax(1)[is_hinted], chunklet[is_hinted]), 1)
    spoken_for = np.where(counts.any(1), counts.argmax(1), -1)
    return relations[np.ix_(spoken_for, spoken_for)] == DIFFERENT
