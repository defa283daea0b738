"""Images that a person may be asked about, and what all trained models say of them.

The models come from the model folder of stage train, where all seeds lie. The images are those that training sees:
hints about images that are held out for the bound have no effect.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Shaped, UInt8

from pipeline.config.sections import Experiment
from pipeline.core.errors import DataError
from pipeline.core.image_ids import ContentSet, parse_ids
from pipeline.core.layout import Layout
from pipeline.core.parquet import read_columns
from pipeline.core.seeding import numpy_generator
from pipeline.core.upgrades import read_model_file
from pipeline.datasets.prepare.id_list import read_id_list
from pipeline.datasets.store.images import ImageStore
from pipeline.model import FrozenModel, load_model
from pipeline.operations.hint_lines import is_plain
from pipeline.training.images import TrainingImages, load_training_images

MOST_CANDIDATES = 4000
"""Images without a hint that are looked at: every one is compared with every other."""

_BLOCK = 2048


@dataclass(frozen=True)
class Candidates:
    """Images that may be asked about, and those with a hint already.

    Attributes:
        names: how a person may call them: by the file, where that is known and no other's, else by the id.
        is_hinted: whether something is known of them in the facet.
        pictures: what people see of them, at model size.
        seeds: whose models were asked, the selected one first.
        latents: posterior means of all facets, one array a model: a hint may bring in what another facet holds now.
        resp: responsibilities of the facet, one array a model.
    """

    names: list[str]
    is_hinted: Bool[np.ndarray, " image"]
    pictures: UInt8[np.ndarray, "image channel height width"]
    seeds: tuple[int, ...]
    latents: Sequence[Float[np.ndarray, "image _"]]
    resp: Sequence[Float[np.ndarray, "image _"]]


def find_candidates(
    layout: Layout, params: Experiment, facet: int, hinted: Iterable[str], elsewhere: Iterable[str]
) -> Candidates:
    """Look at images of the training split with the models of all healthy seeds.

    Args:
        layout: of the experiment; nobody may run its stages meanwhile.
        params: its parameters.
        facet: which facet is asked about.
        hinted: files or ids of images with a hint in this facet; unknown ones are ignored.
        elsewhere: of images that are asked about, or have a hint, in another facet: they are left out.

    Raises:
        DataError: the stages have not run, an output is damaged, or the model is of other images.
    """
    seeds = _healthy_seeds(layout)
    prepared = layout.prepared / "train.h5"
    images = load_training_images(prepared, params.train.validation_fraction, torch.device("cpu"))
    with ImageStore(prepared) as store:
        ids = store.image_ids()
    names = _names(layout, ids)
    is_hinted = _are_named(ids, names, hinted)
    rows = _rows(layout, images, ids, is_hinted)
    rows = rows[is_hinted[rows] | ~_are_named(ids, names, elsewhere)[rows]]
    with ImageStore(prepared) as store:
        pictures = store.take_pictures(rows)
    models = [_load(layout, seed, images) for seed in seeds]
    blocks = [images.some(rows[start : start + _BLOCK]) for start in range(0, len(rows), _BLOCK)]
    views = [[_look(model, facet, block) for block in blocks] for model in models]
    return Candidates(
        names=[names[row] for row in rows.tolist()],
        is_hinted=is_hinted[rows],
        pictures=pictures,
        seeds=seeds,
        latents=[np.concatenate([latents for latents, _ in of_model]) for of_model in views],
        resp=[np.concatenate([resp for _, resp in of_model]) for of_model in views],
    )


def _healthy_seeds(layout: Layout) -> tuple[int, ...]:
    if not (layout.artifact("model") / "model.json").exists():
        raise DataError(
            f"{layout.experiment} must have a trained model, got none; run facets rebuild {layout.experiment}"
        )
    model = read_model_file(layout.artifact("model"))
    others = [one["seed"] for one in model["seeds"] if one["healthy"] and one["seed"] != model["selected_seed"]]
    return (model["selected_seed"], *others)


def _names(layout: Layout, ids: Shaped[np.ndarray, " image"]) -> list[str]:
    table = read_columns(layout.prepared / "images.parquet", ["image_id", "path"])
    paths = [path or "" for path in table["path"].to_pylist()]
    values, counts = np.unique(paths, return_counts=True)
    unclear = {"", *values[counts > 1].tolist()}
    path_of = dict(zip(table["image_id"].to_pylist(), paths, strict=True))
    clear = {path for path in path_of.values() if path not in unclear and is_plain(path)}
    return [path_of[image_id] if path_of[image_id] in clear else image_id for image_id in ids.tolist()]


def _are_named(
    ids: Shaped[np.ndarray, " image"], names: Sequence[str], wanted: Iterable[str]
) -> Bool[np.ndarray, " image"]:
    known = set(wanted)
    return np.array([image_id in known or name in known for image_id, name in zip(ids.tolist(), names, strict=True)])


def _rows(
    layout: Layout,
    images: TrainingImages,
    ids: Shaped[np.ndarray, " image"],
    is_hinted: Bool[np.ndarray, " image"],
) -> Int64[np.ndarray, " candidate"]:
    """Return the rows that training sees and nobody has removed since, ascending: some without a hint, all with one."""
    removed = ContentSet.of_ids(read_id_list(layout.removed))
    rows = images.train_rows[~removed.has(parse_ids(ids[images.train_rows].tolist())[0])]
    drawn = numpy_generator(0, "ask", "images").permutation(rows[~is_hinted[rows]])[:MOST_CANDIDATES]
    return np.sort(np.concatenate([drawn, rows[is_hinted[rows]]]))


def _load(layout: Layout, seed: int, images: TrainingImages) -> FrozenModel:
    model = load_model(layout.artifact("model"), seed)
    if model.spec != images.source.spec:
        raise DataError(
            f"the model of {layout.experiment} must take the images that are prepared now, {images.source.spec}, but "
            f"takes {model.spec}; run facets rebuild {layout.experiment}"
        )
    return model


def _look(
    model: FrozenModel, facet: int, block: Shaped[torch.Tensor, "image channel height width"]
) -> tuple[Float[np.ndarray, "image latent"], Float[np.ndarray, "image component"]]:
    posteriors = model.encode(block)
    latents = torch.cat([posterior.mean for posterior in posteriors], dim=1)
    return latents.numpy(), model.log_resp(facet, posteriors[facet]).exp().numpy()
