"""Which hinted images are kept from training, so that a person learns on them how well the hints were understood."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt64

from pipeline.core.image_ids import leading_bits, parse_ids
from pipeline.core.seeding import derive_seed
from pipeline.datasets.prepare.catalogue import mix
from pipeline.datasets.prepare.find_images import FoundImage
from pipeline.datasets.prepare.hint_rules import Said

_SHARE = 1 / 3
_FEWEST = 2  # images of a label that stay for training


def keep_aside(known: Sequence[FoundImage], images: Sequence[int], said: Said) -> Bool[np.ndarray, " hinted"]:
    """Choose a third of the hinted images by their content, so that hints that are added move none of those before.

    Two images of which one pair alone says something go together: apart, it would serve neither. Of every label two
    images stay for training, and of a facet with pairs alone one pair does. Images of the test split are never trained
    on, so what is said of them is always kept aside.

    Args:
        known: the hinted images.
        images: what stands for them in what is said, ascending.
        said: all that is said.
    """
    place_of = {image: place for place, image in enumerate(images)}
    is_test = np.array([image.is_test for image in known])
    keys = _keys(known)
    _share_keys(keys, place_of, said)
    is_aside = (keys < np.uint64(_SHARE * 2**64)) | is_test
    classes: dict[tuple[int, str], list[int]] = defaultdict(list)
    for (image, facet), (label, _) in said.labels.items():
        if not is_test[place_of[image]]:
            classes[facet, label].append(place_of[image])
    for members in classes.values():
        for place in sorted(members, key=lambda member: (keys[member], member))[-_FEWEST:]:
            is_aside[place] = False
    for a, b in _best_pairs(keys, is_test, place_of, said, {facet for facet, _ in classes}):
        is_aside[[a, b]] = False
    return is_aside


def _keys(known: Sequence[FoundImage]) -> UInt64[np.ndarray, " hinted"]:
    """Return a number for every image that its content decides, evenly distributed; copies have the same."""
    hashes, _ = parse_ids([image.image_id for image in known])
    return mix(leading_bits(hashes) ^ np.uint64(derive_seed(0, "hints", "aside")))


def _share_keys(keys: UInt64[np.ndarray, " hinted"], place_of: dict[int, int], said: Said) -> None:
    """Give two images of which one pair alone says something the same number."""
    mentions = Counter(image for image, _ in said.labels)
    ends = {(a, b) for a, b, _ in said.pairs}
    mentions.update(end for two in ends for end in two)
    for a, b in ends:
        if mentions[a] == mentions[b] == 1:
            both = [place_of[a], place_of[b]]
            keys[both] = mix(keys[both].min(keepdims=True))


def _best_pairs(
    keys: UInt64[np.ndarray, " hinted"],
    is_test: Bool[np.ndarray, " hinted"],
    place_of: dict[int, int],
    said: Said,
    labelled: set[int],
) -> list[tuple[int, int]]:
    """Return the pair that stays for training of every facet that has pairs alone."""
    best: dict[int, tuple[int, int]] = {}
    for a, b, facet in said.pairs:
        two = place_of[a], place_of[b]
        if facet in labelled or is_test[list(two)].any():
            continue
        if facet not in best or keys[list(two)].min() > keys[list(best[facet])].min():
            best[facet] = two
    return list(best.values())
