"""What hints must not do: contradict each other, or say something that tells nothing."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pipeline.core.errors import DataError
from pipeline.datasets.prepare.find_images import FoundImage
from pipeline.datasets.prepare.hint_files import HintFiles, LabelHint, PairHint


@dataclass
class Said:
    """What is said of prepared images, each thing once.

    Attributes:
        images: that something is said of, or was; places in this list stand for them.
        labels: by image and facet, the label and its line.
        pairs: by two images, the first of them first, and facet, whether they are the same, and the line.
        repeated: lines that say again what another one does.
    """

    images: Sequence[FoundImage]
    labels: dict[tuple[int, int], tuple[str, int]] = field(default_factory=dict)
    pairs: dict[tuple[int, int, int], tuple[bool, int]] = field(default_factory=dict)
    repeated: int = 0

    def add_label(self, image: int, hint: LabelHint, path: Path) -> None:
        """Note a label.

        Raises:
            DataError: the image has another one in the facet.
        """
        label, line = self.labels.setdefault((image, hint.facet), (hint.label, hint.line))
        if label != hint.label:
            raise DataError(
                f"{path} must give an image one label in a facet, but {hint.image!r} has {label!r} in line {line} and "
                f"{hint.label!r} in line {hint.line}, both of facet {hint.facet}; take one of the lines out"
            )
        self.repeated += line != hint.line

    def add_pair(self, image_a: int, image_b: int, pair: PairHint, path: Path) -> None:
        """Note a pair.

        Raises:
            DataError: it is one image twice, or another line says the opposite.
        """
        if image_a == image_b:
            raise DataError(
                f"{path} must have two images in every line, got {pair.image_a!r} twice in line {pair.line}; correct it"
            )
        key = (min(image_a, image_b), max(image_a, image_b), pair.facet)
        is_same, line = self.pairs.setdefault(key, (pair.is_same, pair.line))
        if is_same != pair.is_same:
            raise DataError(
                f"{path} must not contradict itself, but lines {line} and {pair.line} say of {pair.image_a!r} and "
                f"{pair.image_b!r} that they are the same and that they are not, in facet {pair.facet}; take one of "
                "the lines out"
            )
        self.repeated += line != pair.line


class Untold(NamedTuple):
    """A label that tells nothing yet.

    Attributes:
        facet: of the label.
        label: the label.
        line: on which it is.
        is_of_one_image: whether it has one image; else it is the only one of its facet.
    """

    facet: int
    label: str
    line: int
    is_of_one_image: bool


def find_untold(files: HintFiles) -> Untold | None:
    """Return the first label that has one image, or is its facet's only one; None where every label tells something.

    What is written counts, not what is left of it: images that are removed do not stop a training.
    """
    distinct = {(hint.facet, hint.label, hint.image): hint for hint in files.labels}
    n_images = Counter((facet, label) for facet, label, _ in distinct)
    n_classes = Counter(facet for facet, _ in n_images)
    for hint in files.labels:
        is_of_one_image = n_images[hint.facet, hint.label] < 2
        if is_of_one_image or n_classes[hint.facet] < 2:
            return Untold(hint.facet, hint.label, hint.line, is_of_one_image)
    return None


def require_telling(files: HintFiles) -> None:
    """Refuse labels that tell nothing (see :func:`find_untold`).

    Raises:
        DataError: there is such a label; the message names its line.
    """
    if (untold := find_untold(files)) is None:
        return
    facet, label, line, is_of_one_image = untold
    if is_of_one_image:
        raise DataError(
            f"{files.labels_path} must give every label to at least two images of its facet, but {label!r} "
            f"of facet {facet} has the one of line {line} alone, which does not tell what makes images "
            "the same; give it to another image, or take the line out"
        )
    raise DataError(
        f"{files.labels_path} must have at least two labels in a facet, but facet {facet} has "
        f"{label!r} alone (line {line}), which does not tell what makes images different; label "
        "some images otherwise"
    )


def require_consistent(files: HintFiles, said: Said) -> None:
    """Refuse pairs that contradict labels, or each other by way of further images.

    Raises:
        DataError: they do; the message names a line without which it would be one contradiction less.
    """
    together = _Together()
    for (image, facet), (label, _) in said.labels.items():
        together.join((facet, image), (facet, label))
    labels: dict[Hashable, str] = {}
    for facet, label in {(facet, label) for (_, facet), (label, _) in said.labels.items()}:
        labels[together.root((facet, label))] = label
    for (a, b, facet), (is_same, line) in said.pairs.items():
        if is_same:
            one, other = (labels.get(together.root((facet, end))) for end in (a, b))
            if one is not None and other is not None and one != other:
                one, other = sorted([one, other])
                raise _contradiction(files, line, f"joins images labelled {one!r} and {other!r} in facet {facet}")
            root = together.join((facet, a), (facet, b))
            if one is not None or other is not None:
                labels[root] = one if one is not None else str(other)
    for (a, b, facet), (is_same, line) in said.pairs.items():
        if not is_same and together.root((facet, a)) == together.root((facet, b)):
            raise _contradiction(files, line, f"parts images that labels or other lines make the same in facet {facet}")


def _contradiction(files: HintFiles, line: int, what: str) -> DataError:
    return DataError(
        f"{files.pairs_path} must not contradict what else is said of the images, but line {line} {what}; take it, or "
        "what it contradicts, out"
    )


class _Together:
    """Which things belong together, directly or through others: a forest, a tree for each set."""

    def __init__(self) -> None:
        self._above: dict[Hashable, Hashable] = {}

    def root(self, thing: Hashable) -> Hashable:
        """Return what stands for all that belongs together with a thing."""
        path = []
        while (above := self._above.get(thing, thing)) != thing:
            path.append(thing)
            thing = above
        self._above.update(dict.fromkeys(path, thing))
        return thing

    def join(self, one: Hashable, other: Hashable) -> Hashable:
        """Put the sets of two things together; return what stands for it."""
        top = self.root(other)
        self._above[self.root(one)] = top
        return top
