"""From what people wrote about images to rows of the stores: checked line by line, a third of it kept aside."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.core.text import counted
from pipeline.datasets.prepare.find_images import find_images, not_found
from pipeline.datasets.prepare.hint_files import HintFiles
from pipeline.datasets.prepare.hint_rules import Said, require_consistent, require_telling
from pipeline.datasets.prepare.keep_aside import keep_aside
from pipeline.datasets.store.hints import PreparedHints, no_hints

WhyGone = Callable[[str], str | None]
"""Why an image of some name is not prepared although the experiment had it; None where it never had."""


@dataclass(frozen=True)
class HintAccount:
    """What became of the hints of an experiment, counted.

    Attributes:
        n_hints: all lines that say something.
        n_images: that they are about, those that are left out apart.
        n_aside: images of the training split what is said of which is kept from training, to judge by.
        n_test: images of the test split, which only serve to judge by.
        repeated: lines that say again what another one does.
        left_out: lines about images that are not prepared, by reason.
    """

    n_hints: int
    n_images: int
    n_aside: int
    n_test: int
    repeated: int
    left_out: dict[str, int]

    @property
    def text(self) -> str:
        """The same in words."""
        n_training = self.n_images - self.n_aside - self.n_test
        facts = [
            f"{counted(self.n_hints, 'hint')} about {counted(self.n_images, 'image')}: {n_training} to train with, "
            f"{self.n_aside} kept aside"
        ]
        if self.n_test:
            facts.append(f"{self.n_test} of the test split, which only serve to judge by")
        if self.repeated:
            facts.append(f"{self.repeated} given twice")
        facts += [f"{n} left out, as the image {reason}" for reason, n in self.left_out.items()]
        return "; ".join(facts)


def resolve_hints(files: HintFiles, prepared: Path, why_gone: WhyGone) -> tuple[PreparedHints, HintAccount]:
    """Return what people said by rows of the prepared stores, and what became of it.

    Args:
        files: what they wrote.
        prepared: folder with ``images.parquet``.
        why_gone: tells images that are not prepared any more from such as never were.

    Raises:
        DataError: an image is unknown, hints contradict each other or do not tell anything; the message names file and
            line.
    """
    require_telling(files)
    said, left_out = look_up(files, prepared, why_gone)
    n_hints = len(files.labels) + len(files.pairs)
    images = sorted({image for image, _ in said.labels} | {end for a, b, _ in said.pairs for end in (a, b)})
    if not images:
        return no_hints(), HintAccount(n_hints, 0, 0, 0, said.repeated, left_out)
    known = [said.images[place] for place in images]
    is_aside = keep_aside(known, images, said)
    place_of = {image: place for place, image in enumerate(images)}
    hints = PreparedHints(
        rows=np.array([image.row for image in known], np.int64),
        is_test=np.array([image.is_test for image in known]),
        is_aside=is_aside,
        labels=_numbered(said, place_of),
        pairs=np.array(
            sorted((place_of[a], place_of[b], facet, int(same[0])) for (a, b, facet), same in said.pairs.items()),
            np.int64,
        ).reshape(-1, 4),
    )
    n_test = int(hints.is_test.sum())
    return hints, HintAccount(n_hints, len(images), int(is_aside.sum()) - n_test, n_test, said.repeated, left_out)


def look_up(files: HintFiles, prepared: Path, why_gone: WhyGone) -> tuple[Said, dict[str, int]]:
    """Return what is said of prepared images, each by its place among them, and why other lines are left out.

    Raises:
        DataError: an image is unknown, or hints contradict each other.
    """
    found = find_images(prepared, files.mentions())
    distinct = sorted(set(found.images.values()), key=lambda image: (image.is_test, image.row))
    number = {image: place for place, image in enumerate(distinct)}
    places = {name: number[image] for name, image in found.images.items()}
    reasons: dict[str, str] = {}
    for name, (path, line) in files.mentions().items():
        if name not in places:
            reason = None if name in found.ambiguous else why_gone(name)
            if reason is None:
                raise not_found(f"{path}, line {line},", name, found)
            reasons[name] = reason
    said, gone = Said(distinct), Counter[str]()
    for hint in files.labels:
        if hint.image in places:
            said.add_label(places[hint.image], hint, files.labels_path)
        else:
            gone[reasons[hint.image]] += 1
    for pair in files.pairs:
        missing = [name for name in (pair.image_a, pair.image_b) if name not in places]
        if missing:
            gone[reasons[missing[0]]] += 1
        else:
            said.add_pair(places[pair.image_a], places[pair.image_b], pair, files.pairs_path)
    require_consistent(files, said)
    return said, dict(gone)


def _numbered(said: Said, place_of: dict[int, int]) -> np.ndarray:
    """Return labels with numbers for their names: in each facet in the order of the images that have them."""
    numbers: dict[tuple[int, str], int] = {}
    counts = Counter[int]()
    rows: list[tuple[int, int, int]] = []
    for (image, facet), (label, _) in sorted(said.labels.items()):
        if (facet, label) not in numbers:
            numbers[facet, label] = counts[facet]
            counts[facet] += 1
        rows.append((place_of[image], facet, numbers[facet, label]))
    return np.array(rows, np.int64).reshape(-1, 3)
