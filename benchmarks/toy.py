"""What benchmarks work on: images at MNIST's size, a model trained for a moment, stores, an experiment to publish."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import UInt8
from PIL import Image
from sklearn.datasets import load_digits

from pipeline.config import load_params
from pipeline.config.sections import AssignParams, Experiment
from pipeline.core.image_ids import HASH_DTYPE, format_ids
from pipeline.core.layout import Layout
from pipeline.core.records import FacetAssignment
from pipeline.core.storage import write_json
from pipeline.datasets.prepare.quarantine import write_quarantine_table
from pipeline.datasets.prepare.tables import write_images_table
from pipeline.datasets.readers.mnist import read_idx
from pipeline.datasets.store.spec import InputSpec
from pipeline.datasets.store.writer import write_store
from pipeline.model.checkpoint import model_version, save_weights, weights_path
from pipeline.table_format.build import write_assignments
from pipeline.tables import History
from pipeline.training import train_in_memory

ROOT = Path(__file__).parents[1]
SHAPE = (1, 28, 28)
SPEC = InputSpec.pixels(SHAPE)
N_FACETS = 2

_BLOCK = 50_000
_N_COMPONENTS = 25
_GOLDEN = 0x9E3779B97F4A7C15

Images = UInt8[np.ndarray, "image 1 28 28"]


def experiment() -> Experiment:
    """Return the experiment with the paper's dense ladder."""
    return load_params(ROOT).experiments["mnist_fast"]


def assign_params() -> AssignParams:
    """Return its assign section."""
    return experiment().assign


def load_images(n_images: int) -> tuple[Images, str]:
    """Return images and what they are: MNIST where its files are at hand, else digits of scikit-learn, enlarged.

    Where there are too few, copies with a little noise fill up.
    """
    real = _find_mnist()
    if real is None:
        name, originals = "digits enlarged to 28×28", _enlarged_digits()
    else:
        name, originals = "MNIST", read_idx(real / "train-images-idx3-ubyte.gz", 3)[:, None]
    images = np.resize(originals, (n_images, *SHAPE))
    noise = np.random.default_rng(0).integers(0, 8, images[len(originals) :].shape, dtype=np.uint8)
    images[len(originals) :] |= noise
    return images, name


def make_ids(start: int, n_images: int) -> np.ndarray:
    """Return image ids that look like hashes and differ."""
    numbers = (np.arange(start, start + n_images, dtype=np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN)
    hashes = np.stack([numbers, ~numbers], axis=1).astype(">u8").view(HASH_DTYPE)[:, 0]
    return format_ids(hashes, np.ones(n_images, np.int64))


def write_images(path: Path, images: Images, batch_id: str, start: int = 0) -> None:
    """Write a store of one batch; its ids count from ``start``."""
    with write_store(path, SPEC, source="toy", split_rule="all") as writer:
        for first in range(0, len(images), _BLOCK):
            some = images[first : first + _BLOCK]
            batches = np.full(len(some), batch_id.encode(), "S14")
            writer.append(some, make_ids(start + first, len(some)), batches)


def write_model(folder: Path, images: Images) -> str:
    """Train the dense ladder for a moment, so that its facets decide as trained ones do; return its version."""
    sections = experiment()
    # All facets at once, and their mixtures fitted at the end.
    phases = (replace(sections.train.phases[0], epochs=3, refit_at=1.0),)
    train = replace(sections.train, phases=phases, warmup_steps=10, kl_weight=0.1, kl_epochs=3)
    init = replace(sections.init_mog, subsample=4000)
    (one,) = train_in_memory(torch.from_numpy(images), SPEC, [0], sections.model, init, train, False)
    folder.mkdir(parents=True)
    save_weights(weights_path(folder, 0), one.state)
    version = model_version(one.state, sections.model)
    description = {
        "schema": 1,
        "experiment": "toy",
        "model_version": version,
        "selected_seed": 0,
        "model": asdict(sections.model),
        "image_shape": SHAPE,
        "trained_on": ["train"],
        "seeds": [{"seed": 0, "healthy": True}],
    }
    write_json(folder / "model.json", description)
    weights = [one.state[f"priors.{facet}.mixing_logits"].softmax(-1).tolist() for facet in range(2)]
    write_json(folder / "clusters.json", {"facets": [{"mixing_weights": one} for one in weights]})
    write_json(folder / "params.json", asdict(sections))
    return version


def write_prepared_tables(folder: Path, batches: dict[str, tuple[int, int]]) -> None:
    """Write ``images.parquet`` and ``quarantine.parquet``.

    Args:
        folder: to write into.
        batches: batch id to the number of its first image and of its images.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ids = np.concatenate([make_ids(*run) for run in batches.values()])
    owners = np.concatenate([np.full(n, batch.encode(), "S14") for batch, (_, n) in batches.items()])
    positions = np.concatenate([np.arange(n) for _, n in batches.values()])
    paths = pa.nulls(len(ids), pa.string())
    write_images_table(folder / "images.parquet", ids, owners, positions, paths, np.full((len(ids), 2), 28, np.int32))
    write_quarantine_table(folder / "quarantine.parquet", [])


def write_batch(layout: Layout, batch_id: str, start: int, n_images: int, created: str) -> None:
    """Write what an ingested batch has beside its pixels."""
    folder = layout.batches / batch_id
    write_prepared_tables(folder, {batch_id: (start, n_images)})
    record = {"id": batch_id, "created": created, "source": "toy", "n_images": n_images}
    write_json(folder / "batch.json", {**record, "quarantined": 0, "duplicates": 0})


def _find_mnist() -> Path | None:
    places = (ROOT / "data" / "raw" / "mnist", ROOT.parent / "shared" / "data" / "mnist")
    return next((place for place in places if (place / "train-images-idx3-ubyte.gz").exists()), None)


def _enlarged_digits() -> Images:
    def enlarge(digit: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray((digit * 15.9).astype(np.uint8)).resize((28, 28), Image.Resampling.BILINEAR))

    digits, _ = load_digits(return_X_y=True)
    return np.stack([enlarge(digit) for digit in digits.reshape(-1, 8, 8)])[:, None]


def write_assigned(
    folder: Path, batch_id: str, version: str, start: int, n_images: int, n_components: int = _N_COMPONENTS
) -> None:
    """Write made-up assignments of one batch, by default to the components of :func:`write_model`'s kind of model."""
    rng = np.random.default_rng(start)
    with write_assignments(folder, batch_id=batch_id, model_version=version, n_facets=N_FACETS) as writer:
        for first in range(0, n_images, _BLOCK):
            n = min(_BLOCK, n_images - first)
            writer.write(make_ids(start + first, n), [_made_up(rng, n, n_components) for _ in range(N_FACETS)])


def publish_rows(root: Path, n_rows: int, rows_a_batch: int) -> tuple[Layout, str]:
    """Publish made-up assignments: a training split of one thousand images, the rest as ingested batches.

    Returns:
        The layout and the model version.
    """
    layout, version, n_train = Layout(root, "toy"), "m-0123456789ab", 1000
    model = layout.published / "models" / version
    sections = experiment()
    description = {"schema": 1, "model": asdict(sections.model), "trained_on": ["train"], "image_shape": SHAPE}
    write_json(model / "model.json", description)
    weights = {"mixing_weights": [1 / _N_COMPONENTS] * _N_COMPONENTS}
    write_json(model / "clusters.json", {"facets": [weights] * N_FACETS})
    write_assigned(model / "assignments" / "train", "train", version, 0, n_train)
    write_prepared_tables(model / "prepared", {"train": (0, n_train)})
    History(layout.published).publish_model(version, batches=layout.batches)
    starts = list(range(n_train, n_rows, rows_a_batch))
    for some in (starts[i : i + 10] for i in range(0, len(starts), 10)):
        add_rows(layout, version, [(start, min(rows_a_batch, n_rows - start)) for start in some])
    return layout, version


def add_rows(
    layout: Layout, version: str, runs: Sequence[tuple[int, int]], n_components: int = _N_COMPONENTS
) -> tuple[float, float]:
    """Publish batches of made-up assignments; return the seconds of publishing alone, by the clock and of processors.

    Args:
        layout: of the experiment.
        version: of its model.
        runs: number of the first image of each batch, and of its images.
        n_components: of each facet of the model.
    """
    folders: dict[str, Path] = {}
    for start, n_images in runs:
        batch_id = f"b-{start:012x}"
        folders[batch_id] = layout.work("assign", version) / batch_id
        write_assigned(folders[batch_id], batch_id, version, start, n_images, n_components)
        write_batch(layout, batch_id, start, n_images, "2026-11-01T12:00:00+00:00")
    begin, begin_cpu = time.perf_counter(), time.process_time()
    History(layout.published).add_batches(folders, layout.batches)
    cost = time.perf_counter() - begin, time.process_time() - begin_cpu
    shutil.rmtree(layout.work("assign", version))
    return cost


def _made_up(rng: np.random.Generator, n_images: int, n_components: int) -> FacetAssignment:
    confidence = rng.random(n_images, np.float32) / 2 + 0.5
    cluster = rng.integers(0, n_components, n_images, dtype=np.int32)
    return FacetAssignment(
        cluster_id=cluster,
        confidence=confidence,
        entropy=rng.random(n_images, np.float32),
        typicality=rng.standard_normal(n_images, np.float32),
        runner_up=(cluster + 1) % np.int32(n_components),
        runner_up_confidence=1 - confidence,
        resp=None,
    )
