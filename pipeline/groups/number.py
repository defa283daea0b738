"""How many groups a facet has: those that other clusterings confirm more than they contradict."""

from collections.abc import Sequence

import numpy as np

from pipeline.core.seeding import numpy_generator
from pipeline.groups.confirmed import Resp, overlap
from pipeline.groups.hinted import CannotLink
from pipeline.groups.tree import merge_components

CONFIRMED = 0.5
"""Two groups stay apart if more than half of the information that this gives is confirmed.

Joining them then loses more mutual information with the other clusterings than it saves doubtful entropy. On digits
(seeds 100 to 109) a limit of 0.49 tells pairs of components of one digit best from pairs of two.
"""

_HALF_SAMPLES = 20


def vote_on_number(
    own: Resp, others: Sequence[Resp], cannot_link: CannotLink | None = None, at_least: int = 1
) -> tuple[int, float]:
    """Return the number of groups that most half-samples of the images give, and the part of them that does.

    Of numbers that are equally frequent the smallest is taken. The result is a pure function of the responsibilities.

    Args:
        own: responsibilities of the published components.
        others: of other clusterings of the same images.
        cannot_link: pairs of components that must not share a group.
        at_least: groups that the tree of all images needs for this; a half-sample joins in another order.
    """
    votes = np.zeros(own.shape[1] + 1, np.int64)
    for number in range(_HALF_SAMPLES):
        half = numpy_generator(0, "groups", "half", number).permutation(len(own))[: max(1, len(own) // 2)]
        tree = merge_components(overlap(own[half], [other[half] for other in others]), cannot_link)
        votes[max(at_least, tree.n_groups(CONFIRMED))] += 1
    return int(votes.argmax()), float(votes.max() / _HALF_SAMPLES)
