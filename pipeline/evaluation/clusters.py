"""Clusters of a whole split, read block by block so that no split has to fit into memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int, Int32

from pipeline.core.progress import Progress
from pipeline.core.shapes import Inputs
from pipeline.datasets.store.images import ImageStore
from pipeline.model import FrozenModel

_BLOCK_BYTES = 16 * 2**20
_BLOCK_IMAGES = 2048


@dataclass(frozen=True)
class FacetClusters:
    """Clusters of one facet for the images of one split, in the order of the store.

    Attributes:
        cluster_id: component with the largest exact responsibility, as in the published tables.
        confidence: that responsibility.
        typicality: log p(z_j) at the posterior mean, in nats.
        cluster_id_at_mean: component with the largest responsibility at the posterior mean, as in the authors' program.
        n_components: components of the facet.
    """

    cluster_id: Int32[np.ndarray, " image"]
    confidence: Float32[np.ndarray, " image"]
    typicality: Float32[np.ndarray, " image"]
    cluster_id_at_mean: Int32[np.ndarray, " image"]
    n_components: int


def image_blocks(store: ImageStore) -> Iterator[tuple[slice, Inputs]]:
    """Yield all images of a store in order, as row ranges and tensors of at most 16 MiB."""
    step = max(1, min(_BLOCK_IMAGES, _BLOCK_BYTES // store.spec.n_bytes))
    for start in range(0, store.n_images, step):
        rows = slice(start, min(start + step, store.n_images))
        yield rows, torch.from_numpy(np.asarray(store.read(rows.start, rows.stop)))


def take_images(store: ImageStore, rows: Int[np.ndarray, " image"]) -> Inputs:
    """Return images of arbitrary rows, in any order and with repetitions; a store itself reads ascending rows."""
    distinct, place = np.unique(rows, return_inverse=True)
    return torch.from_numpy(store.take(distinct)[place])


def cluster_split(model: FrozenModel, store: ImageStore, bar: Progress) -> list[FacetClusters]:
    """Assign every image of a store to a component of every facet.

    Args:
        model: a trained model.
        store: images of the model's shape.
        bar: advanced by one per image.
    """
    components = model.params.n_components
    facets = [
        FacetClusters(
            np.empty(store.n_images, np.int32),
            np.empty(store.n_images, np.float32),
            np.empty(store.n_images, np.float32),
            np.empty(store.n_images, np.int32),
            n_components,
        )
        for n_components in components
    ]
    for rows, images in image_blocks(store):
        for j, qz in enumerate(model.encode(images)):
            exact, at_mean, typicality = model.evaluate(j, qz)
            largest, component = exact.max(dim=-1)
            facets[j].cluster_id[rows] = component.cpu().numpy()
            facets[j].confidence[rows] = largest.exp().float().cpu().numpy()
            facets[j].typicality[rows] = typicality.float().cpu().numpy()
            facets[j].cluster_id_at_mean[rows] = at_mean.argmax(dim=-1).cpu().numpy()
        bar.advance(len(images))
    return facets
