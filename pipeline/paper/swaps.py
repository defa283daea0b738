"""Whether exchanging a facet changes that facet's cluster and nothing else.

The paper shows such pictures (section 4.2, Fig. 5); here the decoded pictures are encoded again and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int64

from pipeline.core.seeding import numpy_generator
from pipeline.core.shapes import Inputs
from pipeline.datasets.store.images import ImageStore
from pipeline.evaluation.clusters import take_images
from pipeline.evaluation.keys import facet_key
from pipeline.model import FrozenModel
from pipeline.model.inputs import as_stored

_BLOCK = 512
_ROUNDS = 50  # of drawing candidates; few images or rare differences give fewer pairs than asked for


@dataclass(frozen=True)
class SwapScore:
    """What became of pairs of images that exchanged one facet; parts of ``n_images`` decoded images.

    Attributes:
        n_images: decoded images, two a pair.
        changed: the facet's cluster is another one than before.
        arrived: it is the cluster of the partner.
        kept: for every other facet, its cluster is the one from before.
        reconstructed: for every facet, its cluster is the one from before when nothing is exchanged: how far a decoded
            image can be trusted at all.
    """

    n_images: int
    changed: float
    arrived: float
    kept: dict[str, float]
    reconstructed: dict[str, float]


def swap_score(
    model: FrozenModel, store: ImageStore, cluster_ids: Sequence[Int[np.ndarray, " image"]], facet: int, n_pairs: int
) -> SwapScore | None:
    """Exchange a facet between images of different clusters and encode the decoded images again.

    Args:
        model: a trained model.
        store: images to draw pairs from.
        cluster_ids: their clusters, one array a facet.
        facet: which facet is exchanged.
        n_pairs: pairs at most.

    Returns:
        The counts, or None where all images share that facet's cluster.
    """
    pairs = differing_pairs(cluster_ids, facet, n_pairs)
    if not len(pairs):
        return None
    before, partner, after, unchanged = [], [], [], []
    for start in range(0, len(pairs), _BLOCK):
        rows = pairs[start : start + _BLOCK]
        first, second = (take_images(store, rows[:, side]) for side in (0, 1))
        swapped = [as_stored(model.spec, decoded) for decoded in model.swap(first, second, facet)]
        after.append(np.concatenate([_clusters(model, images) for images in swapped], axis=1))
        unchanged.append(np.concatenate([_reconstructed(model, images) for images in (first, second)], axis=1))
        own = [np.array([ids[rows[:, side]] for ids in cluster_ids]) for side in (0, 1)]
        before.append(np.concatenate(own, axis=1))
        partner.append(np.concatenate(own[::-1], axis=1))
    return _count(facet, *(np.concatenate(parts, axis=1) for parts in (before, partner, after, unchanged)))


def differing_pairs(
    cluster_ids: Sequence[Int[np.ndarray, " image"]], facet: int, n_pairs: int
) -> Int64[np.ndarray, "pair 2"]:
    """Draw pairs of images that differ in the cluster of ``facet`` and, where a facet has several, of all others.

    As in the paper, so that a kept cluster is no coincidence. Pairs are drawn with a fixed seed; no pair comes twice in
    the same order.
    """
    n_images = len(cluster_ids[facet])
    told_apart = [ids for j, ids in enumerate(cluster_ids) if j == facet or len(np.unique(ids)) > 1]
    rng = numpy_generator(0, "swaps", facet)
    found: dict[tuple[int, int], None] = {}
    for _ in range(_ROUNDS):
        candidates = np.stack([rng.permutation(n_images), rng.permutation(n_images)], axis=1)
        differs = np.all([ids[candidates[:, 0]] != ids[candidates[:, 1]] for ids in told_apart], axis=0)
        found.update(dict.fromkeys(map(tuple, candidates[differs].tolist())))
        if len(found) >= n_pairs:
            break
    return np.array(list(found)[:n_pairs], dtype=np.int64).reshape(-1, 2)


def _count(facet: int, before: np.ndarray, partner: np.ndarray, after: np.ndarray, unchanged: np.ndarray) -> SwapScore:
    others = [j for j in range(len(before)) if j != facet]
    return SwapScore(
        n_images=before.shape[1],
        changed=float(np.mean(after[facet] != before[facet])),
        arrived=float(np.mean(after[facet] == partner[facet])),
        kept={facet_key(j): float(np.mean(after[j] == before[j])) for j in others},
        reconstructed={facet_key(j): float(np.mean(unchanged[j] == before[j])) for j in range(len(before))},
    )


def _clusters(model: FrozenModel, images: Inputs) -> Int64[np.ndarray, "facet image"]:
    posteriors = model.encode(images)
    return np.array([model.log_resp(j, qz, "exact").argmax(-1).cpu().numpy() for j, qz in enumerate(posteriors)])


def _reconstructed(model: FrozenModel, images: Inputs) -> Int64[np.ndarray, "facet image"]:
    return _clusters(model, as_stored(model.spec, model.decode([qz.mean for qz in model.encode(images)])))
