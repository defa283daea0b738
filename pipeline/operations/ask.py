"""Images that a person is asked about: chosen, drawn, and their answers added to the hints."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.asking import choose_images, nearness, weigh_images
from pipeline.asking.form import Answer, read_answers, write_answers
from pipeline.asking.sheet import Question, write_sheet
from pipeline.config.sections import Experiment
from pipeline.core.errors import ConfigError, DataError
from pipeline.core.layout import Layout
from pipeline.core.text import counted
from pipeline.datasets.prepare.hint_files import HintFiles, read_hint_files
from pipeline.operations.candidates import find_candidates
from pipeline.operations.hint import add_labels, require_hintable
from pipeline.operations.locks import repository_lock


@dataclass(frozen=True)
class Asked:
    """What a person is asked.

    Attributes:
        form: CSV to fill in.
        sheet: HTML page with the pictures.
        images: that are asked about, the most telling first.
        n_hinted: images with a hint in this facet, which are not asked about again.
        seeds: whose models were compared; the published one comes first.
    """

    form: Path
    sheet: Path
    images: tuple[str, ...]
    n_hinted: int
    seeds: tuple[int, ...]


def ask(layout: Layout, params: Experiment, facet: int, n_images: int, folder: Path | None = None) -> Asked:
    """Choose the images whose label would tell most about a facet, and write a form and a contact sheet.

    Images that another facet has a hint about, or asks about in a form beside this one, are left to it: in trial
    trainings on faces, of as many answers those about different images taught more (benchmarks/recipes.md).

    Args:
        layout: of the experiment.
        params: its parameters.
        facet: which facet.
        n_images: to ask about; fewer where fewer are left.
        folder: where both files go, by default ``ask/<experiment>/``.

    Raises:
        ConfigError: there is no such facet, all images have hints, or a form holds answers that nobody has read.
        DataError: the stages have not run, or an output is damaged.
        BusyError: another process runs stages.
        ResourceError: the folder cannot be written.
    """
    require_hintable(facet, params.model)
    form = (layout.ask if folder is None else folder) / f"facet_{facet}.csv"
    hints = read_hint_files(layout)
    _require_no_answers(form, {Answer(hint.image, hint.facet, hint.label) for hint in hints.labels})
    known = _hinted(hints)
    hinted = {image for image, where in known if where == facet}
    with repository_lock(layout.root, f"ask {layout.experiment}"):
        found = find_candidates(layout, params, facet, hinted, _asked_elsewhere(form, facet, known))
    places = np.flatnonzero(found.is_hinted)
    near = nearness(found.latents, len(places) + n_images)
    chosen = choose_images(near, weigh_images(found.resp, len(places)), places, n_images)
    if not len(chosen):
        raise ConfigError(
            f"facets ask needs images without a hint, but all that may be asked about have one, "
            f"{counted(len(places), 'image')} of them in facet {facet}; go on with these"
        )
    confidence = found.resp[0].max(1)
    questions = [
        Question(found.names[place], found.pictures[place], float(confidence[place])) for place in map(int, chosen)
    ]
    form.parent.mkdir(parents=True, exist_ok=True)
    sheet = form.with_suffix(".html")
    write_sheet(sheet, layout.experiment, facet, form.name, questions)
    write_answers(form, [Answer(question.image, facet, "") for question in questions])
    return Asked(form, sheet, tuple(question.image for question in questions), len(places), found.seeds)


def add_answers(layout: Layout, params: Experiment, form: Path) -> int:
    """Add the answers of a form to ``hints/<experiment>.csv`` and return how many are new.

    Raises:
        ConfigError: there is no such facet, or answers contradict hints.
        DataError: the form is missing or no form, or names images that the experiment does not have.
        BusyError: another process publishes, or writes hints.
        ResourceError: the file cannot be written.
    """
    if not form.exists():
        raise DataError(f"answers must lie in a form that facets ask wrote, but {form} is missing; name another file")
    given = [answer for answer in read_answers(form) if answer.label]
    facets = sorted({answer.facet for answer in given})
    for facet in facets:
        require_hintable(facet, params.model, f"{form}: ")
    n_new = 0
    for facet in facets:
        labels = [(answer.image, answer.label) for answer in given if answer.facet == facet]
        n_new += len(add_labels(layout, params, facet, labels).labels)
    return n_new


def _hinted(hints: HintFiles) -> set[tuple[str, int]]:
    """Return which images have a hint, a label or a pair, in which facets."""
    ends = ((image, pair.facet) for pair in hints.pairs for image in (pair.image_a, pair.image_b))
    return {*((hint.image, hint.facet) for hint in hints.labels), *ends}


def _asked_elsewhere(form: Path, facet: int, known: Iterable[tuple[str, int]]) -> set[str]:
    """Return the images that have a hint in another facet, or are on a form about one."""
    others = [answer[:2] for path in form.parent.glob("facet_*.csv") if path != form for answer in read_answers(path)]
    return {image for image, where in [*known, *others] if where != facet}


def _require_no_answers(form: Path, known: Iterable[Answer]) -> None:
    """Keep a form that somebody has filled in from being written anew."""
    read = set(known)
    unread = sum(bool(answer.label) and answer not in read for answer in read_answers(form))
    if unread:
        raise ConfigError(
            f"{form} must not hold answers that were not read yet, got {unread}; pass it to --read, or write the new "
            "form elsewhere with --to"
        )
