"""How many groups a facet has: those that other clusterings confirm more than they contradict."""

from collections.abc import Sequence

import numpy as np

from pipeline.core.seeding import numpy_generator
from pipeline.groups.confirmed import Resp, overlap
from pipeline.groups.hinted import Apart
from pipeline.groups.tree import merge_components

CONFIRMED = 0.5
"""Two groups stay apart if more than half of the information that this gives is confirmed.

Joining them then loses more mutual information with the other clusterings than it saves doubtful entropy. On digits
(seeds 100 to 109) a limit of 0.49 tells pairs of components of one digit best from pairs of two.
"""

_HALF_SAMPLES = 20


def vote_on_number(own: Resp, others: Sequence[Resp], apart: Apart | None = None) -> tuple[int, float]:
    """Return the number of groups that most half-samples of the images give, and the part of them that does.

    Of numbers that are equally frequent the smallest is taken. The result is a pure function of the responsibilities.

    Args:
        own: responsibilities of the published components.
        others: of other clusterings of the same images.
        apart: pairs of components that must not share a group.
    """
    votes = np.zeros(own.shape[1] + 1, np.int64)
    for number in range(_HALF_SAMPLES):
        half = numpy_generator(0, "groups", "half", number).permutation(len(own))[: max(1, len(own) // 2)]
        tree = merge_components(overlap(own[half], [other[half] for other in others]), apart)
        votes[tree.n_groups(CONFIRMED)] += 1
    return int(votes.argmax()), float(votes.max() / _HALF_SAMPLES)
