"""Stage train: progressive training of every seed, the label-free selection, the model folder."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.config.sections import ModelParams, TrainParams
from pipeline.core.errors import ModelError, ResourceError
from pipeline.core.groups import ModelGroups, write_groups
from pipeline.core.layout import Layout
from pipeline.core.memory import keep_freed_memory
from pipeline.core.progress import progress, silence
from pipeline.core.seeding import numpy_generator
from pipeline.core.side_by_side import run_in_rounds
from pipeline.core.storage import atomic_dir, read_json, write_json
from pipeline.core.text import percent
from pipeline.core.upgrades import MODEL, PARAMETERS
from pipeline.datasets.store.hints import HINTS_FILE, PreparedHints, read_prepared_hints
from pipeline.datasets.store.images import ImageStore
from pipeline.groups import GROUP_IMAGES, find_groups
from pipeline.model import MultiFacetVae
from pipeline.model.checkpoint import INIT_SCHEMA, load_weights, model_version, save_weights, weights_path
from pipeline.training.history import Row, write_history
from pipeline.training.images import MemoryImages, TrainingImages, load_training_images, watch_test_images
from pipeline.training.loop import GroupTraining, TrainedSeed, seed_groups
from pipeline.training.prepared_hints import describe_hints, with_hints
from pipeline.training.process_group import ALONE, ProcessGroup, is_lost_process, join_process_group
from pipeline.training.resume import load_resume, remove_resume, resume_key, save_resume
from pipeline.training.runtime import KEPT_MEMORY, Runtime, limit_threads, resolve_runtime
from pipeline.training.selection import SeedOutcome, select_seed

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    layout: Layout
    model: ModelParams
    params: TrainParams
    images: TrainingImages
    hints: PreparedHints
    runtime: Runtime
    work: Path
    processes: ProcessGroup


def train(layout: Layout, seeds: Sequence[int], model: ModelParams, params: TrainParams) -> None:
    """Write ``model/``: weights per seed, ``model.json``, ``clusters.json``, ``groups.json``, history, ``epochs.npz``.

    ``epochs.npz`` holds the clusters of some held-out images, of the test split where none are held out, after every
    epoch, so that stage score can tell how well they follow labels by then: ``split``, its ``rows``, and ``seed_<n>``
    (epoch, facet, row), -1 in a facet that has not joined yet.

    On a CPU as many seeds run at once as there are threads, on CUDA all; under ``torchrun`` processes share them (see
    :mod:`pipeline.training.process_group`). A killed run goes on from ``.work/`` and gives the same bits as an
    undisturbed one (on one machine, thread count and number of processes).

    Raises:
        ConfigError: a batch cannot be divided evenly between processes, or a facet cannot follow its hints.
        DataError: the prepared split is missing or damaged, or hints contradict each other.
        ModelError: ``init/`` belongs to another model, or too few seeds are healthy.
        ResourceError: the device asked for is absent, its memory too small, the disk is full, or a process was lost.
    """
    with join_process_group() as processes:
        runtime = resolve_runtime(params)
        prepared = layout.prepared / "train.h5"
        _check_init(layout, seeds)
        keep_freed_memory(KEPT_MEMORY)
        hints = read_prepared_hints(layout.prepared)
        images = load_training_images(prepared, params.validation_fraction, runtime.device)
        images = with_hints(images, hints, model, layout.hints.parent)
        images = watch_test_images(images, layout.prepared / "test.h5")
        shared_by = [processes.size] if processes.size > 1 else []
        inputs = [prepared] if images.hints is None else [prepared, layout.prepared / HINTS_FILE]
        inputs += [layout.prepared / "test.h5"] if images.tested else []
        key = resume_key([model, params, runtime.describe(), *shared_by], inputs)
        job = _Job(layout, model, params, images, hints, runtime, layout.work("train", key), processes)
        trained = _train_all(job, tuple(seeds))
        if processes.leads:
            selected = select_seed([one.outcome for one in trained], params.min_healthy_seeds)
            _write(job, trained, selected, _groups(job, trained, selected))
            remove_resume(job.work)


def _train_all(job: _Job, seeds: tuple[int, ...]) -> list[TrainedSeed]:
    processes = job.processes
    if len(seeds) < processes.size or processes.size == 1:
        groups = seed_groups(seeds, job.runtime)
        # Images on the disk are read by one thread: there is one reader.
        at_once = torch.get_num_threads() if processes.size == 1 and isinstance(job.images.source, MemoryImages) else 1
        done = run_in_rounds(lambda group: _train_group(job, group), groups, at_once)
        trained = [one for group in done for one in group]
    else:
        alone = replace(job, processes=ALONE)
        groups = [seed_groups(seeds[rank :: processes.size], job.runtime) for rank in range(processes.size)]
        for group in groups[processes.rank]:
            _train_group(alone, group)
        processes.wait()
        # Everything is done by now: this reads it back.
        trained = [one for own in groups for group in own for one in _train_group(alone, group)]
        trained.sort(key=lambda one: seeds.index(one.outcome.seed))
    processes.wait()  # the first process removes working files next: no other may still read them
    return trained


def _check_init(layout: Layout, seeds: Sequence[int]) -> None:
    path = layout.artifact("init") / "init.json"
    description = read_json(path)
    known = [record["seed"] for record in description.get("seeds", [])]
    if description.get("schema") != INIT_SCHEMA or description.get("experiment") != layout.experiment:
        raise ModelError(
            f"{path} must have schema {INIT_SCHEMA} and experiment {layout.experiment}, got "
            f"{description.get('schema')!r} and {description.get('experiment')!r}; run stage init_mog"
        )
    missing = sorted(set(seeds) - set(known))
    if missing:
        raise ModelError(f"{path} must hold the seeds {list(seeds)}, but {missing} are missing; run stage init_mog")


def _train_group(job: _Job, seeds: tuple[int, ...]) -> list[TrainedSeed]:
    try:
        return _train_together(job, seeds)
    except (MemoryError, RuntimeError) as error:
        if job.processes.size > 1 and is_lost_process(error):
            raise ResourceError(
                f"all {job.processes.size} processes that train {job.layout.experiment} must live to the end, but one "
                f"was lost ({_first_line(error)}); run the same command again, it goes on at the last checkpoint"
            ) from error
        if not _is_out_of_memory(error):
            raise
    # Outside the handler: the error's frames hold the memory that is short.
    if len(seeds) == 1:
        raise ResourceError(
            f"seed {seeds[0]} of {job.layout.experiment} must fit into memory, but {job.runtime.device.type} ran out "
            "of it; finished seeds are kept, lower train.batch_size or model.hidden and run again"
        )
    half = len(seeds) // 2
    _log.warning("%d seeds side by side exceed the memory: training %d and %d", len(seeds), half, len(seeds) - half)
    return _train_group(job, seeds[:half]) + _train_group(job, seeds[half:])


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _train_together(job: _Job, seeds: tuple[int, ...]) -> list[TrainedSeed]:
    inits = [weights_path(job.layout.artifact("init"), seed) for seed in seeds]
    name = f"{'-'.join(map(str, seeds))}-{resume_key([], inits)}"
    done = load_resume(job.work / f"done-{name}.pt", torch.device("cpu"))
    if done is not None:
        return [_revive(record) for record in done["seeds"]]
    model = MultiFacetVae(job.model, job.images.source.spec, len(seeds))
    for index, path in enumerate(inits):
        load_weights(model, index, path)
    model.to(job.runtime.device)
    limit_threads(model, job.params.batch_size)
    # Another number of threads rounds differently.
    running = job.work / f"running-{name}-{torch.get_num_threads()}.pt"
    training = GroupTraining(model, seeds, job.images, job.params, job.runtime, running, job.processes)
    label = f"train {job.layout.experiment} seed {', '.join(map(str, seeds))}"
    with progress(label, training.n_chunks, "chunk") if job.processes.leads else silence() as bar:
        trained = training.run(bar)
    if job.processes.leads:
        save_resume(job.work / f"done-{name}.pt", {"seeds": [_plain(one) for one in trained]})
        running.unlink(missing_ok=True)
    return trained


def _plain(one: TrainedSeed) -> dict[str, Any]:
    return {
        "outcome": one.outcome.describe(),
        "state": one.state,
        "history": one.history,
        "clusters": one.clusters,
    }


def _revive(record: dict[str, Any]) -> TrainedSeed:
    outcome = SeedOutcome.from_description(record["outcome"])
    return TrainedSeed(outcome, record["state"], record["history"], record["clusters"])


def _groups(job: _Job, trained: Sequence[TrainedSeed], selected: SeedOutcome) -> ModelGroups:
    """Join the components of the selected seed, on a fixed random sample of the images that it was trained on."""
    models = {one.outcome.seed: partial(_model_of, job, one.state) for one in trained if one.outcome.is_healthy}
    published = models.pop(selected.seed)()
    others = ((seed, make()) for seed, make in models.items())
    rows = numpy_generator(0, "train", "groups").permutation(job.images.train_rows)[:GROUP_IMAGES]
    hints = job.images.hints
    hinted = None if hints is None else (hints, job.images.some(hints.rows))
    return find_groups(published, selected.seed, others, job.images.some(np.sort(rows)), hinted)


def _model_of(job: _Job, state: dict[str, torch.Tensor]) -> MultiFacetVae:
    model = MultiFacetVae(job.model, job.images.source.spec)
    model.load_state_dict({name: value[None] for name, value in state.items()})
    return model.to(job.runtime.device)


def _write(job: _Job, trained: Sequence[TrainedSeed], selected: SeedOutcome, groups: ModelGroups) -> None:
    states = {one.outcome.seed: one.state for one in trained}
    rows: list[Row] = [row for one in trained for row in one.history]
    with ImageStore(job.layout.prepared / "train.h5") as store:
        n_train, trained_on = store.n_images, sorted(set(store.batch_ids().tolist()))
    with atomic_dir(job.layout.artifact("model")) as out:
        for seed, state in states.items():
            if state:
                save_weights(weights_path(out, seed), state)
        write_history(out / "history.csv", rows, job.model.n_facets)
        watched, clusters = job.images.watched, {f"seed_{one.outcome.seed}": one.clusters.numpy() for one in trained}
        kept: dict[str, Any] = {"split": np.array(watched.split), "rows": watched.rows, **clusters}
        np.savez_compressed(out / "epochs.npz", **kept)
        write_json(out / "clusters.json", {"facets": _mixing_weights(job, states[selected.seed])})
        write_groups(out, groups)
        write_json(
            out / "model.json",
            {
                "schema": MODEL.schema,
                "parameters": PARAMETERS.schema,
                "experiment": job.layout.experiment,
                "model_version": model_version(states[selected.seed], job.model),
                "selected_seed": selected.seed,
                "selection": {
                    "criterion": "doubt",
                    "reason": f"it leaves least in doubt, {percent(selected.doubt)} of what clusters could tell",
                },
                "model": asdict(job.model),
                "input": job.images.source.spec.describe(),
                "trained_on": trained_on,
                "n_train": n_train,
                "bound_on": "held-out images" if len(job.images.validation_rows) else "training images",
                "hints": describe_hints(job.hints, job.model.n_facets),
                "runtime": job.runtime.describe(),
                "seeds": [one.outcome.describe() for one in trained],
            },
        )


def _mixing_weights(job: _Job, state: dict[str, torch.Tensor]) -> list[dict[str, list[float]]]:
    logits = [state[f"priors.{facet}.mixing_logits"] for facet in range(job.model.n_facets)]
    return [{"mixing_weights": one.softmax(-1).tolist()} for one in logits]
