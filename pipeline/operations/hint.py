"""A person tells a facet what it is about: images of one label, two that are the same, two that are not.

What a command writes is in ``hints/<exp>.csv`` and ``hints/<exp>_pairs.csv``, for people to read and to change; stage
preprocess reads it from there. What the last commands wrote is also noted in ``.work``, so that it can be taken back.
"""

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config.sections import Experiment, ModelParams
from pipeline.core.errors import ConfigError, DataError
from pipeline.core.layout import Layout
from pipeline.core.storage import read_json, write_json
from pipeline.datasets.prepare.find_images import FoundImage, find_images, not_found
from pipeline.datasets.prepare.hint_files import HintFiles, LabelHint, PairHint, read_hint_files
from pipeline.datasets.prepare.hint_rules import find_untold, require_telling
from pipeline.datasets.prepare.hints import look_up
from pipeline.operations.hint_lines import Line, add_lines, is_plain, take_lines
from pipeline.operations.locks import publish_lock
from pipeline.operations.run_log import log_run
from pipeline.tables.formula import as_text

_MOST_COMMANDS = 100  # that can be taken back


@dataclass(frozen=True)
class HintResult:
    """What a command did to the hints.

    Attributes:
        labels: lines written, or taken back: image, facet, label.
        pairs: likewise: two images, facet, ``true`` or ``false``.
        n_known: that were there already, and were not written again.
        n_test: images of the test split among them, which only serve to judge by.
        lacks: what must be said before the experiment can train with the hints; empty where it can.
        advice: what to change for a label that trains nothing, or a facet that has more or fewer clusters than labels;
            empty where there is none.
    """

    labels: tuple[Line, ...]
    pairs: tuple[Line, ...]
    n_known: int
    n_test: int
    lacks: str
    advice: str = ""


def add_labels(layout: Layout, experiment: Experiment, facet: int, of_images: Sequence[tuple[str, str]]) -> HintResult:
    """Write labels of images in one facet.

    Args:
        layout: of the experiment.
        experiment: its parameters.
        facet: number of the facet.
        of_images: an image, by file or id, and its label.

    Raises:
        ConfigError: the facet cannot have hints, a label is no line of text, or hints would contradict each other.
        DataError: an image is unknown, no image is prepared, or a file of hints is damaged.
        BusyError: another process publishes, or writes hints.
    """
    require_hintable(facet, experiment.model)
    for _, label in of_images:
        if not label or not label.isprintable() or label != label.strip():
            raise ConfigError(f"a label must be one line of text without spaces around it, got {label!r}; correct it")
    with publish_lock(layout, "hint"):
        images = _find(layout, [image for image, _ in of_images])
        names = _names(layout, images.values())
        lines = [(names[images[image]], str(facet), as_text(label)) for image, label in of_images]
        result = _add(layout, lines, [], [images[image] for image, _ in of_images])
    files = read_hint_files(layout)
    advice = "" if result.lacks else _advise_on_training(layout, files, facet, {label for _, label in of_images})
    return replace(result, advice=advice or _advise(files, facet, experiment.model.n_components[facet]))


def add_pair(layout: Layout, experiment: Experiment, facet: int, two: tuple[str, str], *, is_same: bool) -> HintResult:
    """Write whether two images are the same in one facet; as :func:`add_labels`."""
    require_hintable(facet, experiment.model)
    with publish_lock(layout, "hint"):
        images = _find(layout, two)
        names = _names(layout, images.values())
        ends = (names[images[image]] for image in two)
        return _add(layout, [], [(*ends, str(facet), "true" if is_same else "false")], list(images.values()))


def undo_hints(layout: Layout) -> HintResult:
    """Take back what the last command wrote that has not been taken back, as far as it is still there.

    Raises:
        ConfigError: there is none.
        DataError: a file of hints is damaged.
        BusyError: another process publishes, or writes hints.
    """
    with publish_lock(layout, "hint --undo"):
        commands = _commands(layout)
        while commands:
            last = commands.pop()
            labels, pairs = take_lines(layout, *([tuple(line) for line in last[kind]] for kind in ("labels", "pairs")))
            write_json(_noted(layout), commands)
            if labels or pairs:
                log_run(layout.root, "hint --undo", {"experiment": layout.experiment, "labels": labels, "pairs": pairs})
                return HintResult(tuple(labels), tuple(pairs), 0, 0, _lacks(layout))
    raise ConfigError(
        f"hints to take back must be of a facets hint that ran here, got none for {layout.experiment}; edit "
        f"{layout.hints.relative_to(layout.root)} yourself"
    )


def require_hintable(facet: int, model: ModelParams, where: str = "") -> None:
    """Refuse a facet that the model does not have, or that has one component.

    Args:
        facet: its number.
        model: the model section.
        where: file and line that name it.

    Raises:
        ConfigError: it is such a facet.
    """
    if facet not in range(model.n_facets):
        raise ConfigError(f"{where}hints must be about a facet, 0 … {model.n_facets - 1}, got {facet}; correct it")
    if model.n_components[facet] < 2:
        raise ConfigError(
            f"{where}a facet with hints must have at least two components, but facet {facet} has one; give it more in "
            "model.n_components, or take the hints out"
        )


def require_usable_hints(layout: Layout, model: ModelParams) -> None:
    """Refuse hints that no training could follow, before hours of work; whether images exist is not looked at.

    Raises:
        ConfigError: they are about a facet that cannot have hints.
        DataError: a file is no table of hints, or a class tells nothing.
    """
    files = read_hint_files(layout)
    for facet, (path, line) in sorted(files.facets().items()):
        require_hintable(facet, model, f"{path}, line {line}: ")
    require_telling(files)


def _advise_on_training(layout: Layout, files: HintFiles, facet: int, labels: set[str]) -> str:
    """Say which label has fewer than two images to train with."""
    hinted = [hint for hint in files.labels if hint.facet == facet and hint.label in labels]
    found = find_images(layout.prepared, [hint.image for hint in hinted]).images
    train = {
        (hint.label, found[hint.image]) for hint in hinted if hint.image in found and not found[hint.image].is_test
    }
    n_train = Counter(label for label, _ in train)
    for label in sorted(labels):
        if n_train[label] < 2:
            return (
                f"what makes images of {label!r} the same can't be learned: two of them must be of the training split, "
                f"but {'one' if n_train[label] else 'none'} is; take more images of batch_id train (docs/hints.md)"
            )
    return ""


def _advise(files: HintFiles, facet: int, n_clusters: int) -> str:
    """Return what number of clusters would go with the labels of a facet."""
    n_labels = len({hint.label for hint in files.labels if hint.facet == facet})
    if n_labels < 2 or n_labels == n_clusters:
        return ""
    found = f"facet {facet} has {n_clusters} clusters for {n_labels} labels"
    if n_labels > n_clusters:
        return f"{found}, so images of some must share one; {n_labels} in model.n_components give each its own"
    return (
        f"{found}, and may divide them further, by what other facets are about; if these are all kinds there are, "
        f"{n_labels} in model.n_components tell them alone"
    )


def _find(layout: Layout, names: Sequence[str]) -> dict[str, FoundImage]:
    if not (layout.prepared / "images.parquet").exists():
        raise DataError(
            f"images must be prepared before they are pointed at, but {layout.prepared} has none; run facets rebuild "
            f"{layout.experiment} first, or write {layout.hints.relative_to(layout.root)} yourself"
        )
    found = find_images(layout.prepared, names)
    for name in names:
        if name not in found.images:
            raise not_found("a hint", name, found)
    return dict(found.images)


def _names(layout: Layout, images: Iterable[FoundImage]) -> dict[FoundImage, str]:
    """Return what lines call images: by their files, which people know, where that means one alone; else by ids."""
    known = list(images)
    found = find_images(layout.prepared, [image.path for image in known if is_plain(image.path)]).images
    return {image: image.path if found.get(image.path) == image else image.image_id for image in known}


def _add(layout: Layout, labels: list[Line], pairs: list[Line], images: Sequence[FoundImage]) -> HintResult:
    """Write lines that are not there yet, if they go with those that are."""
    before = read_hint_files(layout)
    new_labels, new_pairs = _new(layout, before, labels, pairs)
    if new_labels or new_pairs:
        note = {"labels": new_labels, "pairs": new_pairs}
        # First the note: lines that are noted and not there are no trouble, the others could not be taken back.
        write_json(_noted(layout), [*_commands(layout), note][-_MOST_COMMANDS:])
        add_lines(layout, new_labels, new_pairs)
        log_run(layout.root, "hint", {"experiment": layout.experiment, **note})
    n_known = len(labels) + len(pairs) - len(new_labels) - len(new_pairs)
    n_test = len({image.image_id for image in images if image.is_test})
    return HintResult(tuple(new_labels), tuple(new_pairs), n_known, n_test, _lacks(layout))


def _new(layout: Layout, before: HintFiles, labels: list[Line], pairs: list[Line]) -> tuple[list[Line], list[Line]]:
    """Return the lines that say something new.

    Raises:
        ConfigError: they contradict each other, or what was said before.
    """
    at, pair_at = (1 + max([1, *(hint.line for hint in lines)]) for lines in (before.labels, before.pairs))
    hints = [LabelHint(image, int(facet), label, line) for line, (image, facet, label) in enumerate(labels, at)]
    more = [PairHint(a, b, int(facet), same == "true", line) for line, (a, b, facet, same) in enumerate(pairs, pair_at)]
    after = HintFiles((*before.labels, *hints), (*before.pairs, *more), before.labels_path, before.pairs_path)
    try:
        said, _ = look_up(after, layout.prepared, lambda _: "is not prepared any more")
    except DataError as error:
        raise ConfigError(f"hints must go with those before, so nothing is written: {error}") from None
    label_lines, pair_lines = ({line for _, line in what.values()} for what in (said.labels, said.pairs))
    return (
        [line for line, hint in zip(labels, hints, strict=True) if hint.line in label_lines],
        [line for line, pair in zip(pairs, more, strict=True) if pair.line in pair_lines],
    )


def _lacks(layout: Layout) -> str:
    if (untold := find_untold(read_hint_files(layout))) is None:
        return ""
    command = f"facets hint {layout.experiment} --facet {untold.facet} --as"
    if untold.is_of_one_image:
        return f"{command} {shlex.quote(untold.label)} IMAGE: a label needs two images at least"
    return f"{command} OTHER IMAGE IMAGE: facet {untold.facet} needs a second label, beside {untold.label!r}"


def _noted(layout: Layout) -> Path:
    return layout.root / ".work" / layout.experiment / "hinted.json"


def _commands(layout: Layout) -> list[dict[str, Any]]:
    path = _noted(layout)
    return read_json(path) if path.exists() else []
