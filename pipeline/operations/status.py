"""Where an experiment stands: its stages, what readers see, what it occupies."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import Params
from pipeline.config.dag import stage_names
from pipeline.core.errors import BusyError
from pipeline.core.hint_words import describe_help
from pipeline.core.input_words import input_noun
from pipeline.core.layout import Layout
from pipeline.core.storage import disk_usage
from pipeline.core.upgrades import SCORES, read_model_file, read_record
from pipeline.datasets.prepare.quarantine import Account, read_account
from pipeline.operations.aside import reasons_by_batch
from pipeline.operations.locks import repository_lock
from pipeline.operations.publish import refused_model
from pipeline.operations.rejected import Rejected, rejected_deliveries
from pipeline.operations.repro import stale_stages
from pipeline.operations.shards import describe_left
from pipeline.tables import History

_MIB = 2**20
_WRITTEN = (".work/locks", ".dvc/tmp")
"""Folders that asking DVC writes in: our lock lies in one, its own in the other."""


@dataclass(frozen=True)
class ExperimentStatus:
    """The state of one experiment.

    Attributes:
        experiment: its name.
        is_active: whether rebuilds include it.
        stages: for each stage ``fresh`` or why it would run; empty where that cannot be told.
        note: why the stages are not known, else empty.
        noun: what people call one of its inputs, ``image`` or ``row``; ``image`` before anything is published.
        published: version, model, time, reason and number of images that readers see; None before the first.
        help: of every facet of the model in service, what people had told it and what it made of that, in words; None
            where they told nothing.
        refused: the model trained last and why the gate keeps it out of service; None where it does not.
        account: what became of the images of the source when they were prepared last; None where they were not yet, or
            by an earlier release.
        batches: rows of the table ``batches``.
        left: which batches wait to be published, in words; empty where none does.
        quarantine: by batch, why files of it were set aside, and how many.
        rejected: deliveries of which no image was taken, the newest first.
        mebibytes: size of its folders, by path below the root.
    """

    experiment: str
    is_active: bool
    stages: dict[str, str]
    note: str
    noun: str
    published: dict[str, Any] | None
    help: list[str | None]
    refused: dict[str, Any] | None
    account: Account | None
    batches: list[dict[str, Any]]
    left: str
    quarantine: dict[str, dict[str, int]]
    rejected: list[Rejected]
    mebibytes: dict[str, float]


def experiment_status(root: Path, params: Params, experiment: str) -> ExperimentStatus:
    """Return the state of one experiment without changing anything; never waits for a lock.

    Raises:
        ConfigError: the experiment is unknown.
        DataError: a record is damaged.
        ResourceError: DVC or git is missing, this is no repository of both, or rejected deliveries cannot be read.
    """
    sections, layout = params.experiment(experiment), Layout(root, experiment)
    is_active = experiment in params.active
    stages, note = _stages(layout) if is_active else ({}, "not active; add it to active in params.yaml to rebuild it")
    history = History(layout.published)
    current, batches = history.current(), history.rows("batches")
    shown = ("version", "model_version", "created", "reason", "n_images")
    return ExperimentStatus(
        experiment=experiment,
        is_active=is_active,
        stages=stages,
        note=note,
        noun="image" if current is None else input_noun(read_model_file(history.model_folder())["input"]),
        published=None if current is None else {name: getattr(current, name) for name in shown},
        help=[] if current is None else read_help(history.model_folder()),
        refused=refused_model(layout, sections),
        account=read_account(layout.prepared),
        batches=batches,
        left=describe_left(layout),
        quarantine=reasons_by_batch(layout, batches),
        rejected=rejected_deliveries(layout),
        mebibytes=_mebibytes(layout),
    )


def read_help(model_dir: Path) -> list[str | None]:
    """Return of every facet of a model what people had told it and what it made of that, in words.

    Raises:
        DataError: a file of the model is damaged.
    """
    metrics = read_record(model_dir / "score" / "metrics.json", SCORES)
    return describe_help(read_model_file(model_dir)["hints"], metrics["hints"])


def _stages(layout: Layout) -> tuple[dict[str, str], str]:
    if not all(_is_writable(layout.root / folder) for folder in _WRITTEN):
        return {}, "not known, as DVC must be able to write in the repository to tell what is stale"
    try:
        with repository_lock(layout.root, f"status {layout.experiment}") as held:
            stale = stale_stages(layout, held)
    except BusyError as busy:
        return {}, str(busy)
    return {stage: stale.get(stage, "fresh") for stage in stage_names(layout.root)}, ""


def _is_writable(folder: Path) -> bool:
    """Tell whether a folder can be written, or made."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return os.access(there, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _mebibytes(layout: Layout) -> dict[str, float]:
    """Return the sizes of an experiment's folders and of those that all experiments share."""
    folders = (
        layout.prepared,
        layout.batches,
        layout.artifact("model").parent,
        layout.published,
        layout.workspace,
        layout.raw,
        layout.root / ".dvc" / "cache",
    )
    return {str(path.relative_to(layout.root)): round(disk_usage(path) / _MIB, 1) for path in folders if path.exists()}
