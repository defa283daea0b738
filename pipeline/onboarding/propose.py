"""A first experiment for a person's images: a section of ``params.yaml`` with a reason for each choice, and a picture.

Sizes and channels follow rules of thumb. How many clusters there are is compared by how stable they are, without
training; of nearly black and white images model and training are what short trials show to train. Labels play no part.
The section has what differs from its preset, in the order of the records.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from pipeline.config.parse import parse
from pipeline.config.resolve import preset_values
from pipeline.config.sections import InitMogParams
from pipeline.config.service import GateParams
from pipeline.config.write import flow_text
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.core.progress import progress
from pipeline.core.text import set_aside, to_json
from pipeline.datasets.store.spec import InputSpec, describe_shape
from pipeline.onboarding.directions import (
    RANDOM_STATE,
    ROWS,
    best_of,
    compare_clusters,
    rows_of_pixels,
    usual_numbers,
    write_directions,
    write_photographs,
)
from pipeline.onboarding.duration import predict_seconds, shown_minutes
from pipeline.onboarding.inputs import as_features, choose_input
from pipeline.onboarding.kinds import describe_kinds
from pipeline.onboarding.ladder import Trials, find_setting
from pipeline.onboarding.number_of_clusters import ClusterNumbers
from pipeline.onboarding.number_of_facets import number_of_facets
from pipeline.onboarding.preprocessing import Choice, Pixels, choose_preprocess
from pipeline.onboarding.reproducible import Reproducibility, judge_reproducibility
from pipeline.onboarding.rows import RowSample, take_rows
from pipeline.onboarding.sample import Sample, take_sample
from pipeline.onboarding.section import begin_section
from pipeline.onboarding.settings import DIRECTIONS, SEEDS, Reasoned, Setting, first_setting, usual_preset
from pipeline.onboarding.trial import Trial, TrialImages
from pipeline.onboarding.variety import require_enough

_BASE = "small_images"
"""The preset of which all that are proposed take how images are read."""

_SHEET_COLUMNS, _SHEET_TILE, _SHEET_GAP = 8, 64, 2


@dataclass(frozen=True)
class Proposal:
    """What to try first.

    Attributes:
        text: section of ``experiments`` in ``params.yaml``, indented by two spaces; 20 lines at most besides remarks.
        contact_sheet: PNG of some images as the model will see them.
        notes: what a person should look at, one sentence each.
        seconds: that a rebuild will take, about; None without trials.
    """

    text: str
    contact_sheet: bytes
    notes: list[str]
    seconds: float | None


def propose_experiment(layout: Layout, location: str, *, with_trials: bool = False) -> Proposal:
    """Look at some images, compare or try settings, and propose how to cluster them.

    Args:
        layout: of the new experiment, which gives its name.
        location: folder or file of images; a path from the repository's root, or a URL.
        with_trials: whether settings are compared or tried; otherwise the usual one is proposed as it is.

    Of images that are clustered by features nothing is tried: their preset is one for all collections. So it is of
    rows; of these, as of images whose numbers of clusters are compared, is said where nothing is reproducible.

    Raises:
        DataError: there is nothing there, no image is usable, or there are too few or all of them are the same; or no
            setting trains.
    """
    usual = preset_values(_BASE)["preprocess"]
    rows = take_rows(layout, usual, location)
    trained_on = 1 - usual["test_fraction"]
    if rows is not None:
        n_train = round(rows.n_usable * trained_on)
        preprocess = rows.choose_preprocess(layout, location)
        told, remarks = _told(_judged_rows(rows, n_train) if with_trials else None)
        text = write_directions(layout.experiment, ROWS, preprocess, n_train, noun="row", remarks=remarks)
        drawn = _draw(InputSpec.features(rows.rows.shape[-1]).as_pictures(rows.rows))
        return Proposal(text, drawn, [*rows.notes, *told], None)
    sample = take_sample(layout, usual, location)
    require_enough(sample.n_usable, "image", location)
    prepared = choose_preprocess(layout, sample, usual["max_pixels"], location)
    preprocess, pixels = prepared.section, prepared.pixels
    choice = choose_input(sample.shapes, pixels)
    notes = _notes(sample, pixels)
    n_train = round(sample.n_usable * trained_on)
    if choice.are_features:
        chosen = as_features(preprocess, sample.shapes, choice.reason)
        return Proposal(
            write_photographs(layout.experiment, chosen, n_train), _draw(pixels), [*notes, choice.reason], None
        )
    notes += [*prepared.notes, choice.reason]
    preset = usual_preset(pixels)
    if preset[0] == DIRECTIONS:
        compared = compare_clusters(pixels) if with_trials else None
        told, remarks = _told(_judged_pixels(pixels, compared) if compared else None)
        told += _more_facets(pixels, best_of(compared).n_components) if compared else []
        text = write_directions(layout.experiment, preset, preprocess, n_train, compared, remarks=remarks)
        return Proposal(text, _draw(pixels), [*notes, *told], None)
    setting, trials = first_setting(n_train), None
    if with_trials:
        values = preset_values(preset[0])
        init = parse(InitMogParams, values["init_mog"], "init_mog")
        gate = parse(GateParams, values["publish"]["gate"], "publish.gate")
        trials = find_setting(setting, n_train, TrialImages.of_pixels(pixels), init, gate)
        setting = _chosen(trials, location).setting
    text = _write(layout.experiment, preset, preprocess, setting, trials)
    seconds = None
    if trials is not None and trials.chosen is not None:
        seconds = predict_seconds(trials.chosen, len(SEEDS), n_train)
        notes.append(f"facets rebuild will take about {shown_minutes(seconds)} on this machine, the trials' pace kept")
    return Proposal(text, _draw(pixels), notes, seconds)


def _judged_rows(rows: RowSample, n_train: int) -> Reproducibility | None:
    return judge_reproducibility(torch.from_numpy(rows.rows).flatten(1), usual_numbers(n_train), "row")


def _judged_pixels(pixels: Pixels, compared: list[ClusterNumbers]) -> Reproducibility | None:
    best = best_of(compared)
    return judge_reproducibility(rows_of_pixels(pixels), best.n_components, "image", best.stability)


def _told(judged: Reproducibility | None) -> tuple[list[str], list[str]]:
    """Return notes and remarks where nothing is reproducible; else none."""
    return ([], []) if judged is None or judged.is_shown else ([judged.note], judged.remarks)


def _more_facets(pixels: Pixels, proposed: tuple[int, ...]) -> list[str]:
    """Return a note where images have more facets than are proposed; fewer are not told from facets that overlap."""
    with progress("number of facets", 1, "comparison") as bar:
        found = number_of_facets(rows_of_pixels(pixels).float(), RANDOM_STATE)
        bar.advance(1)
    return [found.note] if found.n_facets > len(proposed) else []


def _chosen(trials: Trials, location: str) -> Trial:
    if trials.chosen is None:
        shown = "; ".join(f"{trial.label}: {trial.faults[0]}" for trial in trials.all)
        raise DataError(
            f"no setting trained on {location} ({shown}); add images or correct the path, or pass "
            "--no-trial and choose model.latent_dims yourself"
        )
    return trials.chosen


def _write(name: str, preset: Reasoned, preprocess: dict[str, Choice], setting: Setting, trials: Trials | None) -> str:
    usual = preset_values(preset[0])
    lines = begin_section(name, _describe(trials), preset, preprocess)
    lines.append("    model:")
    model = _own(setting.model, usual["model"])
    lines += [f"      {key}: {flow_text(value)}  # {setting.why[f'model.{key}']}" for key, value in model.items()]
    # In braces, as dvc exp run -S writes lists outside of them over many lines.
    train = _own(setting.train, usual["train"])
    lines.append(f"    train:  # {'; '.join(setting.why[f'train.{key}'] for key in train)}")
    lines.append(f"      {flow_text(train)}")
    return "\n".join(lines) + "\n"


def _own(section: Any, usual: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a section has that its preset leaves out, or has otherwise."""
    plain = json.loads(to_json(asdict(section)))  # lists, as in YAML
    return {key: value for key, value in plain.items() if key not in usual or value != usual[key]}


def _describe(trials: Trials | None) -> list[str]:
    if trials is None:
        return ["No trial was made: whether this trains is not known."]
    return [
        f"Trials of {trials.all[0].n_seeds} starts each, judged without labels (1: same clusters, 0: chance):",
        *(
            f"{'→' if trial is trials.chosen else ' '} latents {list(trial.setting.model.latent_dims)}, "
            f"clusters {list(trial.setting.model.n_components)} ({trial.seconds:.0f} s): {trial.verdict}"
            for trial in trials.all
        ),
    ]


def _notes(sample: Sample, pixels: UInt8[np.ndarray, "image channel height width"]) -> list[str]:
    shapes = ", ".join(f"{n} × {describe_shape(shape)}" for shape, n in sample.shapes.most_common(3))
    notes = [f"looked at {sample.n_seen:,} of {sample.n_images:,} images: {shapes}"]
    notes.append(f"of those looked at, {set_aside(sample.n_seen, sample.reasons)}")
    if sample.copies:
        notes.append(f"{sample.copies:,} of {sample.n_seen:,} looked at are exact copies of others among them")
    if sample.n_transparent:
        notes.append(
            f"{sample.n_transparent:,} of {sample.n_seen:,} looked at have transparency, which is laid on white"
        )
    if sample.kinds:
        notes.append(describe_kinds(sample.kinds))
    notes += sample.labels.remarks
    if sample.brightest is not None:
        notes.append(
            f"the largest value in 16-bit images is {sample.peak:,}, so preprocess.brightest is {sample.brightest}: "
            "it becomes white, and larger values in other images are clipped"
        )
    brightest = int(pixels.max())
    if brightest < 64:
        notes.append(
            f"no pixel is brighter than {brightest} of 255, so at most {brightest + 1} shades are left; "
            "if the files can hold more, rescale them"
        )
    return notes


def _draw(pixels: UInt8[np.ndarray, "image channel height width"]) -> bytes:
    """Draw images side by side, enlarged by a whole number."""
    shown = pixels[:: -(-len(pixels) // _SHEET_COLUMNS**2)]
    shown = shown[:, :3] if shown.shape[1] >= 3 else shown[:, :1]
    zoom = max(1, _SHEET_TILE // max(shown.shape[2:]))
    tiles = np.kron(shown, np.ones((1, 1, zoom, zoom), np.uint8))
    height, width = tiles.shape[2] + _SHEET_GAP, tiles.shape[3] + _SHEET_GAP
    n_rows = -(-len(tiles) // _SHEET_COLUMNS)
    sheet = np.full((n_rows * height + _SHEET_GAP, _SHEET_COLUMNS * width + _SHEET_GAP, 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = (_SHEET_GAP + n * side for n, side in zip(divmod(i, _SHEET_COLUMNS), (height, width), strict=True))
        sheet[top : top + tile.shape[1], left : left + tile.shape[2]] = tile.transpose(1, 2, 0)
    target = io.BytesIO()
    Image.fromarray(sheet).save(target, "PNG")
    return target.getvalue()
