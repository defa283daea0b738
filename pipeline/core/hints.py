"""What a person has said about a few images: which belong together in a facet, and which do not.

Labels and pairs say the same kind of thing, and neither names a cluster: images of one label are to share theirs,
images of two labels are not, however many clusters the facet has. Both become one relation between images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Int8, Int64

SAME, UNKNOWN, DIFFERENT = 1, 0, -1

_MOST_CHUNKLETS = 4096  # of a facet: their relations take 16 MiB


class HintPair(NamedTuple):
    """Two images by their rows in the training split, and whether they are to share their cluster in a facet."""

    image_a: int
    image_b: int
    facet: int
    is_same: bool


@dataclass(frozen=True)
class Hints:
    """What is known of the hinted images, facet by facet.

    Images that are to stay together, directly or through others, are a chunklet (Bar-Hillel et al., "Learning distance
    functions using equivalence relations", ICML 2003); two chunklets differ, or nothing is known of them.

    Attributes:
        rows: the hinted images' rows in the training split, ascending.
        chunklets: of every hinted image in every facet; -1 where the facet has no hint about it.
        relations: of every facet, between its chunklets: :data:`SAME` on the diagonal, else :data:`DIFFERENT` or
            :data:`UNKNOWN`. The last row and column are those of images without a hint: index -1 finds them.
    """

    rows: Int64[np.ndarray, " hinted"]
    chunklets: Int64[np.ndarray, "facet hinted"]
    relations: tuple[Int8[np.ndarray, "_ _"], ...]

    def among(self, rows: Int64[np.ndarray, " image"]) -> "Hints":
        """Return what is known of some rows alone."""
        kept = np.isin(self.rows, rows)
        return replace(self, rows=self.rows[kept], chunklets=self.chunklets[:, kept])

    def facets(self, first_facet: int = 0) -> list[int]:
        """Return the facets, from one on, in which something is known of at least one pair of images."""
        return [facet for facet in range(first_facet, len(self.chunklets)) if self._has_pairs(facet)]

    def _has_pairs(self, facet: int) -> bool:
        own = self.chunklets[facet]
        found, counts = np.unique(own[own >= 0], return_counts=True)
        return bool((counts > 1).any() or (self.relations[facet][np.ix_(found, found)] == DIFFERENT).any())


def collect_hints(labels: Int64[np.ndarray, "image facet"], pairs: Sequence[HintPair] = ()) -> Hints:
    """Return the hints that labels and pairs give together.

    Args:
        labels: of every image of the training split, in every facet; negative where none is given. A label means
            nothing outside its facet.
        pairs: of these images, in these facets.

    Raises:
        ValueError: hints contradict each other, or a facet has too many chunklets.
    """
    n_facets = labels.shape[1]
    of_facets = [_relate(labels[:, j], j, [pair for pair in pairs if pair.facet == j]) for j in range(n_facets)]
    rows = np.unique(np.concatenate([hinted for hinted, _, _ in of_facets]))
    chunklets = np.full((n_facets, len(rows)), -1)
    for facet, (hinted, chunklet, _) in enumerate(of_facets):
        chunklets[facet, np.searchsorted(rows, hinted)] = chunklet
    return Hints(rows, chunklets, tuple(relations for _, _, relations in of_facets))


def _relate(
    labels: Int64[np.ndarray, " image"], facet: int, pairs: Sequence[HintPair]
) -> tuple[Int64[np.ndarray, " hinted"], Int64[np.ndarray, " hinted"], Int8[np.ndarray, "_ _"]]:
    """Return the hinted images of one facet, their chunklets, and the relations of these."""
    # Trainings without hints start without it.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.array([pair[:2] for pair in pairs], np.int64).reshape(-1, 2)
    is_same = np.array([pair.is_same for pair in pairs], bool)
    labelled = np.flatnonzero(labels >= 0)
    rows = np.union1d(labelled, ends)
    names, label = np.unique(labels[labelled], return_inverse=True)
    ends_at, n_nodes = np.searchsorted(rows, ends), len(rows) + len(names)
    # A label is a node like an image: what it joins is a chunklet.
    links = np.concatenate([np.stack([np.searchsorted(rows, labelled), len(rows) + label], 1), ends_at[is_same]])
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(n_nodes, n_nodes))
    n_found, found = connected_components(graph, directed=False) if n_nodes else (0, ())
    chunklet = np.asarray(found, np.int64)
    if n_found > _MOST_CHUNKLETS:
        raise ValueError(
            f"the hints of facet {facet} must leave at most {_MOST_CHUNKLETS} sets of images that belong together, got "
            f"{n_found}; give fewer, or say which images belong together"
        )
    of_label, apart = chunklet[len(rows) :], chunklet[ends_at[~is_same]]
    _refuse_contradictions(facet, names, of_label, ends[~is_same], apart)
    relations = np.zeros((n_found + 1, n_found + 1), np.int8)
    relations[np.ix_(of_label, of_label)] = DIFFERENT
    relations[apart[:, 0], apart[:, 1]] = relations[apart[:, 1], apart[:, 0]] = DIFFERENT
    np.fill_diagonal(relations[:-1, :-1], SAME)
    return rows, chunklet[: len(rows)], relations


def _refuse_contradictions(
    facet: int,
    names: Int64[np.ndarray, " label"],
    of_label: Int64[np.ndarray, " label"],
    ends: Int64[np.ndarray, "different two"],
    apart: Int64[np.ndarray, "different two"],
) -> None:
    for image_a, image_b in ends[apart[:, 0] == apart[:, 1]].tolist():
        raise ValueError(
            f"hints must not contradict each other, but images {image_a} and {image_b} are to be the same and "
            f"different in facet {facet}; take one of these hints back"
        )
    found, counts = np.unique(of_label, return_counts=True)
    for chunklet in found[counts > 1].tolist():
        one, other = names[of_label == chunklet][:2].tolist()
        raise ValueError(
            f"hints must not contradict each other, but pairs join images of the labels {one} and {other} in facet "
            f"{facet}; take one of these hints back"
        )
