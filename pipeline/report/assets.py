"""The files of stage report: sprites and ``page.json``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pipeline.core.storage import atomic_dir, write_json
from pipeline.core.upgrades import PICTURES
from pipeline.report.packing import pack, pack_coordinates, pack_fraction
from pipeline.report.showcase import CrossShow, FacetShow, Pool, PoolAssignment, Showcase, SwapShow
from pipeline.report.sprites import Pictures, thumbnails, write_sheet

# Together below what a page of 15 MB leaves for sprites, beside base64's third, the data and the plotting library.
_BUDGETS = {"images": 5_500_000, "generated": 900_000, "imagined": 1_100_000, "swaps": 500_000}


def write_assets(folder: Path, showcase: Showcase, longer_side: int) -> None:
    """Write everything about a model that the page shows; the folder appears as a whole.

    Args:
        folder: output folder of stage report.
        showcase: what to write.
        longer_side: pixels of the longer side of a picture at most.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    with atomic_dir(folder) as temporary:
        pictures = _pictures(showcase)
        sheets = {
            name: write_sheet(temporary, name, thumbnails(found, longer_side), _BUDGETS[name]).to_json()
            for name, found in pictures.items()
        }
        write_json(temporary / "page.json", _page(showcase) | {"sheets": sheets})


def _pictures(showcase: Showcase) -> dict[str, Pictures]:
    shape = showcase.pool.images.shape[1:]
    swaps = [] if showcase.swaps is None else [showcase.swaps.pictures.reshape(-1, *shape)]
    return {
        "images": showcase.pool.images,
        "generated": np.concatenate([facet.generated.reshape(-1, *shape) for facet in showcase.facets]),
        "imagined": _joined([cross.imagined.reshape(-1, *shape) for cross in showcase.crosses], shape),
        "swaps": _joined(swaps, shape),
    }


def _joined(parts: list[UInt8[np.ndarray, "_ channel height width"]], shape: tuple[int, ...]) -> Pictures:
    return np.concatenate([np.empty((0, *shape), np.uint8), *parts])


def _page(showcase: Showcase) -> dict[str, Any]:
    return {
        "schema": PICTURES.schema,
        "experiment": showcase.experiment,
        "model_version": showcase.model_version,
        "image_shape": list(showcase.pool.images.shape[1:]),
        "n_train": showcase.n_train,
        "n_test": showcase.n_test,
        "temperature": showcase.temperature,
        "redrawn": showcase.redrawn,
        "nearest": None if showcase.nearest is None else _nearest(showcase.nearest),
        "images": _images(showcase.pool),
        "label_values": {name: values.tolist() for name, values in showcase.label_values.items()},
        "facets": _facets(showcase),
        "crosses": _crosses(showcase),
        "swaps": None if showcase.swaps is None else _swaps(showcase.swaps),
    }


def _nearest(nearest: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    return {sheet: pack(np.array(places, np.int32)) for sheet, places in nearest.items()}


def _images(pool: Pool) -> dict[str, Any]:
    return {
        "ids": pool.image_ids.astype(str).tolist(),
        "is_test": pack(pool.is_test.astype(np.uint8)),
        "is_sampled": pack(pool.is_sampled.astype(np.uint8)),
        "labels": {name: pack(values.astype(np.int32)) for name, values in pool.labels.items()},
    }


def _facets(showcase: Showcase) -> list[dict[str, Any]]:
    shown, first = [], 0
    for facet in showcase.facets:
        shown.append(_facet(facet) | {"generated_from": first, "generated": facet.generated.shape[1]})
        first += facet.generated.shape[0] * facet.generated.shape[1]
    return shown


def _facet(facet: FacetShow) -> dict[str, Any]:
    return {
        "pool": _assignment(facet.pool),
        "n_components": len(facet.sizes),
        "latent_dim": facet.pool.latents.shape[1],
        "sizes": facet.sizes.tolist(),
        "mean_confidence": [None if np.isnan(value) else round(float(value), 6) for value in facet.mean_confidence],
        "histogram": facet.histogram.tolist(),
        "by_confidence": facet.by_confidence.tolist(),
        "by_similarity": facet.by_similarity.tolist(),
        "neighbours": facet.neighbours.tolist(),
        "examples": [chosen.tolist() for chosen in facet.examples],
        "borderline": [chosen.tolist() for chosen in facet.borderline],
        "unusual": facet.unusual.tolist(),
        "uncertain": facet.uncertain.tolist(),
        "label_counts": {name: counts.tolist() for name, counts in facet.label_counts.items()},
    }


def _assignment(pool: PoolAssignment) -> dict[str, Any]:
    return {
        "cluster_id": pack(pool.cluster_id.astype(np.int16)),
        "confidence": pack_fraction(pool.confidence),
        "group_confidence": None if pool.group_confidence is None else pack_fraction(pool.group_confidence),
        "entropy": pack(pool.entropy.astype(np.float32)),
        "typicality": pack(pool.typicality.astype(np.float32)),
        "runner_up": pack(pool.runner_up.astype(np.int16)),
        "runner_up_confidence": pack_fraction(pool.runner_up_confidence),
        "latents": pack_coordinates(pool.latents),
        "places": pack_coordinates(pool.places),
    }


def _crosses(showcase: Showcase) -> list[dict[str, Any]]:
    shown, first = [], 0
    for cross in showcase.crosses:
        shown.append(_cross(cross) | {"imagined_from": first})
        first += cross.imagined.shape[0] * cross.imagined.shape[1]
    return shown


def _cross(cross: CrossShow) -> dict[str, Any]:
    return {
        "first": cross.first,
        "second": cross.second,
        "row_ids": cross.row_ids.tolist(),
        "column_ids": cross.column_ids.tolist(),
        "examples": pack(cross.examples.astype(np.int32)),
    }


def _swaps(swaps: SwapShow) -> dict[str, Any]:
    return {"anchors": swaps.anchors.tolist(), "cluster_id": pack(swaps.cluster_id.astype(np.int16))}
