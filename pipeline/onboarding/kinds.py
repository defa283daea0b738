"""Images of different kinds in one folder, told apart by their names: originals and crops, images and their masks."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.core.text import to_json
from pipeline.datasets.store.spec import Shape

_MOST_KINDS = 6
_NEARLY_ALL = 0.98
_FEWEST_SHARE = 0.02

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")

_MASKS = re.compile(r"(?:^|[\W_])(?:masks?|seg(?:mentations?)?|annotations?|groundtruth|gt)(?:$|[\W_])", re.IGNORECASE)
"""What people call images that say of each pixel of another image what it shows."""


_ANY = "*"
_MIXED, _TWO_VALUED = "grey and colour", "two-valued"

PatternOf = Callable[[str], str]
"""From a path to a pattern that fits all paths like it; ``_ANY`` where there is nothing to go by."""


@dataclass(frozen=True)
class Seen:
    """What is known of one image.

    Attributes:
        path: below the folder.
        shape: channel, height, width.
        content: hash of its pixels.
        is_two_valued: whether nearly all of its pixels have one of two values, as those of a mask.
        peak: the largest value of a 16-bit image before it was scaled; -1 of other images.
        is_transparent: whether a pixel was not opaque.
    """

    path: str
    shape: Shape
    content: bytes
    is_two_valued: bool
    peak: int = -1
    is_transparent: bool = False


@dataclass(frozen=True)
class Kind:
    """Files that are named alike and look alike.

    Attributes:
        patterns: on their paths, as ``preprocess.exclude`` takes them; empty where their names have nothing in common.
        n_files: how many files of the whole source have such a path.
        look: their colours and size.
        is_masks: whether they are two-valued, are called masks, and another image belongs to nearly each.
    """

    patterns: tuple[str, ...]
    n_files: int
    look: str
    is_masks: bool

    @property
    def text(self) -> str:
        """The same in words."""
        return f"{self.n_files:,} × {self.look} {'named ' + ' or '.join(self.patterns) if self.patterns else 'besides'}"


def find_kinds(seen: Sequence[Seen], names: Sequence[str]) -> list[Kind]:
    """Return the kinds that names tell apart, the most frequent first; none where all images are of one kind.

    Args:
        seen: some images.
        names: paths of all files.
    """
    for pattern_of in (_by_first_folder, _by_folder, _by_end, _by_beginning, _by_ending):
        groups: dict[str, list[Seen]] = {}
        for image in seen:
            groups.setdefault(pattern_of(image.path), []).append(image)
        if not 1 < len(groups) <= _MOST_KINDS or min(map(len, groups.values())) < max(3, _FEWEST_SHARE * len(seen)):
            continue
        by_look: dict[str, list[str]] = {}
        for pattern, images in sorted(groups.items()):
            by_look.setdefault(_look(images, by_values=_tells(groups)), []).append(pattern)
        if len(by_look) > 1 and not any(look.startswith(_MIXED) for look in by_look):
            found = [_kind(look, patterns, pattern_of, names) for look, patterns in by_look.items()]
            return sorted(found, key=lambda kind: -kind.n_files)
    return []


def describe_kinds(kinds: Sequence[Kind]) -> str:
    """Return in words what kinds there are, and how to leave one out."""
    found = f"{_NUMBERS[len(kinds)]} kinds of files: {', '.join(kind.text for kind in kinds)}"
    if any(kind.is_masks for kind in kinds):
        return f"{found}; those that are masks of the others are left out"
    named = [kind for kind in kinds if kind.patterns]
    return f"{found}; leave a kind out with preprocess.exclude, such as exclude: {to_json(named[-1].patterns)}"


def _kind(look: str, patterns: list[str], pattern_of: PatternOf, names: Sequence[str]) -> Kind:
    mine = [name for name in names if pattern_of(name) in patterns]
    are_called_so = all(_MASKS.search(pattern.removesuffix(".*")) for pattern in patterns)
    is_masks = look.startswith(_TWO_VALUED) and are_called_so and _have_partners(mine, names)
    return Kind(tuple(patterns) if _ANY not in patterns else (), len(mine), look, is_masks)


def _tells(groups: Mapping[str, Sequence[Seen]]) -> bool:
    """Tell whether groups differ in being two-valued: each is nearly wholly so, or nearly not."""
    shares = [_share_two_valued(images) for images in groups.values()]
    return all(share >= _NEARLY_ALL or share <= 1 - _NEARLY_ALL for share in shares)


def _share_two_valued(images: Sequence[Seen]) -> float:
    return sum(image.is_two_valued for image in images) / len(images)


def _have_partners(masks: Sequence[str], names: Sequence[str]) -> bool:
    others = set(names).difference(masks)
    stems = set(map(_stem, others))
    return sum(_stem(name) in stems for name in masks) >= _NEARLY_ALL * len(masks)


def _stem(path: str) -> str:
    """Return the name alone, without ending and without what says that it is a mask."""
    stem = path.rpartition("/")[2].rpartition(".")[0]
    return re.sub(r"\W|_", "", _MASKS.sub("", stem)).lower()


def _look(images: Sequence[Seen], *, by_values: bool) -> str:
    """Return colours and size in words; of a size that differs, that it does."""
    if by_values and _share_two_valued(images) > 0.5:
        colours = _TWO_VALUED
    else:
        colours = _most_common("grey" if image.shape[0] == 1 else "colour" for image in images) or _MIXED
    return f"{colours} {_most_common(f'{i.shape[1]}×{i.shape[2]}' for i in images) or 'of several sizes'}"


def _most_common(values: Iterator[str]) -> str | None:
    counts = Counter(values)
    ((value, n),) = counts.most_common(1)
    return value if n >= _NEARLY_ALL * counts.total() else None


# --- what names have in common ----------------------------------------------------------------------------------------


def _by_first_folder(path: str) -> str:
    folder, slash, _ = path.partition("/")
    return f"{_literal(folder)}/*" if slash else _ANY


def _by_folder(path: str) -> str:
    """Return the name of the folder that holds a file, wherever that folder lies."""
    _, slash, folder = path.rpartition("/")[0].rpartition("/")
    return f"{'*/' if slash else ''}{_literal(folder)}/*" if folder else _ANY


def _by_end(path: str) -> str:
    stem, dot, ending = path.rpartition(".")
    end = re.search(r"[\W_][A-Za-z]+$", stem.rpartition("/")[2])
    return f"*{_literal(end[0])}{dot}{_literal(ending)}" if end else _ANY


def _by_beginning(path: str) -> str:
    _, slash, name = path.rpartition("/")
    beginning = re.match(r"[A-Za-z]+(?:[\W_]|(?=\d))", name)
    return f"{'*/' if slash else ''}{_literal(beginning[0])}*" if beginning else _ANY


def _by_ending(path: str) -> str:
    _, dot, ending = path.rpartition("/")[2].rpartition(".")
    return f"*.{_literal(ending)}" if dot else _ANY


def _literal(text: str) -> str:
    return re.sub(r"[*?\[]", r"[\g<0>]", text)
