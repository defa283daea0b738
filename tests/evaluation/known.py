"""A model whose clusters can be read off the pixels, and prepared folders to go with it."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pipeline.config.sections import ModelParams
from pipeline.datasets.store.spec import InputSpec
from pipeline.datasets.store.writer import write_store
from pipeline.model import DiagonalNormal, FrozenModel, MixtureView

SHAPE = (1, 2, 3)
SPEC = InputSpec.pixels(SHAPE)
N_COMPONENTS = (3, 2)


def known_params(n_components=N_COMPONENTS):
    n_facets = len(n_components)
    return ModelParams(
        family="dense",
        hidden=((4,),) * n_facets,
        latent_dims=(1,) * n_facets,
        n_components=n_components,
        covariance=("diagonal",) * n_facets,
        mixing_weights="learned",
        likelihood="bernoulli",
        sigma=1.0,
        output="sigmoid",
        activation="relu",
        network_init="default",
        rung_gate=0.1,
    )


class KnownModel(FrozenModel):
    """Facet j reads its component off pixel (0, j) and its confidence off pixel (1, j), in percent.

    Decoding writes the component back, so that a decoded image has exactly the components of its latents. With
    ``shift``, the component at the posterior mean is the next one: the two assigners then differ. The mixing weights
    rise with the component: 1/6, 2/6, 3/6.
    """

    def __init__(self, n_components=N_COMPONENTS, shift=0):
        self._params, self._shift = known_params(n_components), shift
        self.model_version = "m-0123456789ab"

    @property
    def params(self):
        return self._params

    @property
    def spec(self):
        return SPEC

    @property
    def device(self):
        return torch.device("cpu")

    def to(self, device):
        assert device == self.device
        return self

    def encode(self, images):
        means = [images[:, 0, 0, j, None].float() for j in range(self.n_facets)]
        spreads = [-images[:, 0, 1, j, None].float() for j in range(self.n_facets)]
        return [DiagonalNormal(mean, spread) for mean, spread in zip(means, spreads, strict=True)]

    def log_resp(self, facet, qz, assigner="exact"):
        n_components = self.params.n_components[facet]
        component = qz.mean[:, 0].long() + (self._shift if assigner == "mean" else 0)
        largest = (-qz.log_variance / 100).clamp(1 / n_components, 1)
        resp = ((1 - largest) / max(1, n_components - 1)).expand(-1, n_components).clone()
        resp.scatter_(1, component[:, None] % n_components, largest)
        return resp.log()

    def evaluate(self, facet, qz):
        return self.log_resp(facet, qz, "exact"), self.log_resp(facet, qz, "mean"), -qz.mean[:, 0]

    def mixture(self, facet):
        n_components = self.params.n_components[facet]
        return MixtureView(
            weights=np.arange(1.0, n_components + 1) / np.arange(1.0, n_components + 1).sum(),
            means=np.arange(float(n_components))[:, None],
            covariances=np.full((n_components, 1, 1), 1e-8),
        )

    def decode(self, latents):
        pixels = torch.zeros(len(latents[0]), *SHAPE)
        for j, z in enumerate(latents):
            pixels[:, 0, 0, j] = z[:, 0].float() / 255
            pixels[:, 0, 1, j] = 100 / 255
        return pixels


def known_images(*components, confidence=90):
    """One row of components a facet -> images."""
    images = np.zeros((len(components[0]), *SHAPE), np.uint8)
    for j, ids in enumerate(components):
        images[:, 0, 0, j] = ids
        images[:, 0, 1, j] = confidence
    return images


def write_prepared(folder: Path, splits, factors):
    """Write stores and labels; ``factors``: name -> {split: labels}."""
    ids, names = [], []
    for split, images in splits.items():
        spec = InputSpec.pixels(images.shape[1:])
        own = np.array([f"i-{split}{row:012d}" for row in range(len(images))], dtype=str)
        with write_store(folder / f"{split}.h5", spec, source="known", split_rule="given") as store:
            store.append(images, own, np.full(len(own), split))
        ids += own.tolist()
        names += [split] * len(own)
    columns = {name: np.concatenate([by[s] for s in splits]).astype(np.int32) for name, by in factors.items()}
    pq.write_table(pa.table({"image_id": ids, "split": names, **columns}), folder / "labels.parquet")


def write_description(folder: Path, seeds, selected, unhealthy=()):
    folder.mkdir(parents=True, exist_ok=True)
    records = [{"seed": seed, "healthy": seed not in unhealthy} for seed in seeds]
    description = {
        "schema": 1,
        "experiment": "known",
        "model_version": "m-0123456789ab",
        "selected_seed": selected,
        "seeds": records,
    }
    (folder / "model.json").write_text(json.dumps(description))
    write_epochs(folder, seeds)


def write_epochs(folder: Path, seeds, n_facets=2):
    """Write what stage train keeps of two epochs: rows 0 and 1, first together in one cluster, then apart."""
    course = np.repeat(np.array([[[0, 0]], [[0, 1]]], np.int16), n_facets, axis=1)
    np.savez_compressed(
        folder / "epochs.npz", split=np.array("train"), rows=np.arange(2), **{f"seed_{seed}": course for seed in seeds}
    )
