"""How far other clusterings of the same images confirm that two groups of components differ.

Dividing images in two tells H nats about an image, H being the entropy of the two shares. If another clustering, made
from another start, divides the same images alike, it holds all of this information; if it cuts a continuum elsewhere,
it holds little. The confirmed share is

    I(which of the two; component in the other clustering) / H

within the images of the two groups, averaged over the other clusterings: a Jensen-Shannon divergence (Lin, 1991) over
the largest value that it can have. It is 1 where no other clustering ever puts images of both groups into one
component, and 0 where all mix them as if by chance.

Unlike the mean of the seeds' consensus matrix between the two groups, it is on one scale for large groups and small
ones, for components in halves and in tenths, so that one half is a limit without a unit (see
:mod:`pipeline.groups.number`). The consensus matrix itself, image by image, is never needed.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64
from scipy.special import rel_entr

Resp = Float[np.ndarray, "image component"]
Overlap = Float64[np.ndarray, "group clustering component"]


def overlap(own: Resp, others: Sequence[Resp]) -> Overlap:
    """Return how many images each own component shares with each component of the other clusterings.

    Every entry sums products of responsibilities over the images; rows of groups are sums of rows of components.

    Args:
        own: responsibilities of the published components.
        others: of the same images; all with equally many components.
    """
    stacked = np.concatenate(others, axis=1).astype(np.float64)
    return (own.T.astype(np.float64) @ stacked).reshape(own.shape[1], len(others), -1)


def confirmed_share(one: Float64[np.ndarray, "clustering component"], others: Overlap) -> Float64[np.ndarray, " group"]:
    """Return how far the other clusterings tell one group from each of several, in [0, 1].

    Args:
        one: the row of a group in :func:`overlap`.
        others: rows of the groups that it is compared with.

    Returns:
        0 where one of the two has no mass: nothing tells it apart.
    """
    n_clusterings = len(one)
    mass, masses = one.sum() / n_clusterings, others.sum((1, 2)) / n_clusterings
    both, together = mass + masses, one + others
    with np.errstate(divide="ignore", invalid="ignore"):
        part = (mass / both)[:, None, None]
        divergences = rel_entr(one, together * part) + rel_entr(others, together * (1 - part))
        possible = rel_entr(mass, both) + rel_entr(masses, both)
        share = divergences.sum((1, 2)) / n_clusterings / -possible
    return np.where((mass > 0) & (masses > 0), np.clip(share, 0, 1), 0.0)
