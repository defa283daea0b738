"""Which hinted images a step sees: a pure function of the seed and the chunk."""

import numpy as np
from jaxtyping import Float64, Int64

from pipeline.core.hints import DIFFERENT, Hints
from pipeline.core.seeding import numpy_generator
from pipeline.training.schedule import Chunk


def n_drawn(hints: Hints, most: int) -> int:
    """Return how many hinted images a step sees: all where there are no more than ``most``, else pairs of them."""
    return len(hints.rows) if len(hints.rows) <= most else 2 * (most // 2)


def draw_hinted(seed: int, chunk: Chunk, hints: Hints, n_images: int) -> Int64[np.ndarray, "step drawn"]:
    """Return the hinted images of a chunk's steps, by their place among all hinted ones.

    Where a step cannot see all, it draws pairs of which something is known: of ten thousand images in pairs, single
    draws would hardly ever meet both ends of one. The facets that take part have an equal share, same and different
    pairs, too; an image may come twice.

    Args:
        seed: the model's seed.
        chunk: which steps.
        hints: those of images that are trained on; a facet that takes part has some.
        n_images: from :func:`n_drawn`.
    """
    if n_images == len(hints.rows):
        return np.tile(np.arange(n_images), (chunk.n_steps, 1))
    generator = numpy_generator(seed, "train", "hints", chunk.start)
    facets = hints.facets(chunk.first_facet)
    shares = [len(part) for part in np.array_split(np.arange(n_images // 2), len(facets))]
    drawn = [
        _KnownPairs(hints, facet).draw(generator.random((4, chunk.n_steps, share)))
        for facet, share in zip(facets, shares, strict=True)
    ]
    return np.concatenate(drawn, axis=1).reshape(chunk.n_steps, n_images)


class _KnownPairs:
    """The pairs of one facet's hinted images of which something is known, drawn without a list of them all."""

    def __init__(self, hints: Hints, facet: int) -> None:
        chunklet, relations = hints.chunklets[facet], hints.relations[facet]
        self._members = np.argsort(chunklet, kind="stable")[np.count_nonzero(chunklet < 0) :]
        self._chunklet = chunklet[self._members]
        self._sizes = np.bincount(self._chunklet, minlength=len(relations) - 1)
        self._starts = np.cumsum(self._sizes) - self._sizes
        differ = (relations[:-1, :-1] == DIFFERENT) & (self._sizes > 0)
        self._n_others = differ.sum(1)
        self._others = np.nonzero(differ)[1]
        self._first_other = np.cumsum(self._n_others) - self._n_others
        self._anchors = np.flatnonzero((self._sizes > 1)[self._chunklet] | (self._n_others > 0)[self._chunklet])

    def draw(self, uniform: Float64[np.ndarray, "4 step pair"]) -> Int64[np.ndarray, "step pair two"]:
        """Return pairs from uniform numbers: which image, same or different, which chunklet, which image there."""
        place = self._anchors[_below(uniform[0], np.array(len(self._anchors)))]
        chunklet = self._chunklet[place]
        n_others, size = self._n_others[chunklet], self._sizes[chunklet]
        is_same = (n_others == 0) | ((uniform[1] < 0.5) & (size > 1))
        chosen = np.minimum(self._first_other[chunklet] + _below(uniform[2], n_others), len(self._others) - 1)
        chunklet = np.where(is_same, chunklet, self._others[chosen] if len(self._others) else chunklet)
        # The next image of its own chunklet from the first one on, in a circle, or any of the other chunklet.
        start, size = self._starts[chunklet], self._sizes[chunklet]
        further = 1 + _below(uniform[3], size - 1)
        own, any_other = (place - start + further) % size, _below(uniform[3], size)
        partner = start + np.where(is_same, own, any_other)
        return self._members[np.stack([place, partner], -1)]


def _below(uniform: Float64[np.ndarray, "step pair"], n: Int64[np.ndarray, "*shape"]) -> Int64[np.ndarray, "step pair"]:
    """Return whole numbers from 0 to n - 1, and 0 where n is 0."""
    return np.minimum((uniform * n).astype(np.int64), np.maximum(n - 1, 0))
