"""Clusterings that agree on known blocks, and cut each block as they like."""

import numpy as np

Resp = np.ndarray


def soft(component, n_components, confidence=1.0):
    """Responsibilities with the same confidence for every image, the rest spread evenly."""
    rest = (1 - confidence) / max(1, n_components - 1)
    resp = np.full((len(component), n_components), rest, np.float32)
    resp[np.arange(len(component)), component] = confidence if n_components > 1 else 1.0
    return resp


def clusterings(n_blocks, pieces, n_seeds, n_images=600, confidence=0.95, seed=0):
    """Return the block of every image, and clusterings that divide every block at random into so many pieces.

    Names of components differ between clusterings.
    """
    rng = np.random.default_rng(seed)
    block = rng.integers(0, n_blocks, n_images)
    n_components = n_blocks * pieces
    made = []
    for _ in range(n_seeds):
        names = rng.permutation(n_components)
        made.append(soft(names[block * pieces + rng.integers(0, pieces, n_images)], n_components, confidence))
    return block, made


def as_partition(group):
    """The sets of components that a cut makes, whatever their names."""
    group = np.asarray(group)
    return {frozenset(np.flatnonzero(group == one).tolist()) for one in set(group.tolist())}
