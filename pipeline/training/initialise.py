"""Stage init_mog: per seed the start network and the mixtures fitted on the latents of that very network."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np
import torch
from jaxtyping import Int64

from pipeline.config.sections import InitMogParams, ModelParams
from pipeline.core.layout import Layout
from pipeline.core.progress import progress
from pipeline.core.seeding import derive_seed
from pipeline.core.side_by_side import run_in_rounds
from pipeline.core.storage import atomic_dir, write_json
from pipeline.datasets.store.hints import read_prepared_hints
from pipeline.mixture import HintedRows, fits_at_once, init_mixtures, learn_directions
from pipeline.mixture.initial import encode_means, init_clusters
from pipeline.model import MultiFacetVae
from pipeline.model.checkpoint import INIT_SCHEMA, save_weights, seed_state, weights_path
from pipeline.model.inputs import as_floats
from pipeline.model.ladders.residual import ResidualLadder
from pipeline.training.images import GatheredImages, TrainingImages, load_training_images
from pipeline.training.network_init import init_network, initial_spread
from pipeline.training.prepared_hints import with_hints
from pipeline.training.pretrain import pretrain
from pipeline.training.runtime import DeviceName, resolve_device

_BATCH = 512  # images that the data-dependent initialisation looks at
_BLOCK = 4096  # images encoded at once
_COMMITTED_SPREAD = 0.5  # above it, responsibilities are decided before training begins
_log = logging.getLogger(__name__)


def initialise(
    layout: Layout, seeds: Sequence[int], model: ModelParams, params: InitMogParams, device: DeviceName
) -> None:
    """Write ``init/``: one weights file a seed and ``init.json`` with how each fit went.

    Args:
        layout: of the experiment.
        seeds: one model each.
        model: the model section.
        params: the section of the mixtures' start.
        device: ``train.device``, on which images are encoded.

    Raises:
        ConfigError: a facet cannot follow its hints.
        DataError: the prepared split is missing or damaged, or hints contradict each other.
        ModelError: more components than images, or no mixture could be fitted.
        ResourceError: the device asked for is absent.
    """
    encoding_device = resolve_device(device)
    images = load_training_images(layout.prepared / "train.h5", 0.0, torch.device("cpu"))
    images = with_hints(images, read_prepared_hints(layout.prepared), model, layout.hints.parent)
    with (
        progress(f"init_mog {layout.experiment}", len(seeds), "seed") as bar,
        atomic_dir(layout.artifact("init")) as out,
    ):

        def start(seed: int) -> dict[str, object]:
            network, record = initialise_seed(seed, model, images, params, encoding_device)
            save_weights(weights_path(out, seed), seed_state(network, 0))
            bar.advance()
            return record

        records = run_in_rounds(start, seeds, fits_at_once())
        write_json(
            out / "init.json",
            {
                "schema": INIT_SCHEMA,
                "experiment": layout.experiment,
                "input": images.source.spec.describe(),
                "seeds": records,
            },
        )


def initialise_seed(
    seed: int, params: ModelParams, images: TrainingImages, init: InitMogParams, device: torch.device
) -> tuple[MultiFacetVae, dict[str, object]]:
    """Return one seed's model as training begins, on the device that encoded the images, and how its start came about.

    Raises:
        ModelError: more components than images, or no mixture could be fitted.
    """
    model = MultiFacetVae(params, images.source.spec, component_std=init.component_std)
    first = as_floats(model.spec, images.some(images.train_rows[:_BATCH]), torch.float32)
    init_network(model, [seed], first)
    network = model.network
    is_linear = isinstance(network, ResidualLadder)
    if is_linear:
        _learn_directions(network, seed, images, init.subsample)
        network.start_linear()
    if init.pretrain:
        pretrain(model, seed, images, init.pretrain)
    model.to(device)
    means = encode_means(model, _blocks(images, _fitted_rows(images, init.subsample)))
    spread = [of_facet[0] for of_facet in initial_spread(model, means)]
    if is_linear:
        (fits,) = init_clusters(model, [seed], means, init.neighbours)
    else:
        (fits,) = init_mixtures(model, [seed], means, init)
    for facet, ratio in enumerate(spread):
        if ratio > _COMMITTED_SPREAD and not (is_linear or init.pretrain):
            _log.warning(
                "seed %d, facet %d: the latents' initial spread is %.2f of the components' deviation; above %.1f the "
                "assignments are decided before training; %s",
                *(seed, facet, ratio, _COMMITTED_SPREAD, _remedy(ratio, params, init)),
            )
    return model, {"seed": seed, "spread": spread, "fits": [asdict(fit) for fit in fits]}


def _learn_directions(network: ResidualLadder, seed: int, images: TrainingImages, n_most: int) -> None:
    """Give a ladder over rows the statistics of the training split, and of its hints, that it reads by."""
    spec, hints = images.source.spec, images.hints
    numbers = _fitted_rows(images, n_most)
    numbers = numbers if hints is None else np.union1d(numbers, hints.rows)
    rows = torch.cat([as_floats(spec, block, torch.float32) for block in _blocks(images, numbers)])
    hinted = None if hints is None else HintedRows(hints, np.searchsorted(numbers, hints.rows))
    random_state = derive_seed(seed, "init_mog", "directions") % 2**32
    learn_directions(network.directions, rows.flatten(1), 0, random_state, hinted)


def _remedy(ratio: float, params: ModelParams, init: InitMogParams) -> str:
    """Return what lowers a spread: the deviation that it is measured by, or other start values of the network."""
    wide_enough = 1.05 * init.component_std * ratio / _COMMITTED_SPREAD  # two digits are shown, whichever way rounded
    deviation = f"a component_std of {wide_enough:.2g} or more leaves them open"
    return deviation if params.network_init == "default" else f"{deviation}, or try model.network_init default"


def _fitted_rows(images: TrainingImages, n_most: int) -> Int64[np.ndarray, " fitted"]:
    """Return every row, or a regular subset: rows are in no order that matters (see stage preprocess)."""
    return images.train_rows[:: max(1, -(-len(images.train_rows) // n_most))]


def _blocks(images: TrainingImages, rows: Int64[np.ndarray, " fitted"]) -> Iterator[GatheredImages]:
    for start in range(0, len(rows), _BLOCK):
        yield images.some(rows[start : start + _BLOCK])
