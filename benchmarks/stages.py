"""The stages before training: images prepared, mixtures fitted, rows read, each beside what a few plain lines need."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import torch
from sklearn.mixture import GaussianMixture

from benchmarks import toy
from benchmarks.lines import Line, compare, report
from pipeline.config import load_params
from pipeline.core.layout import Layout
from pipeline.datasets.prepare.build import prepare_images
from pipeline.datasets.store.images import ImageStore
from pipeline.mixture.initial import encode_means, init_mixtures
from pipeline.model import MultiFacetVae
from pipeline.operations.scan import scan_source
from pipeline.training.network_init import init_network

_N_IMAGES = 20_000
_BATCH = 128


def measure(full: bool) -> list[Line]:
    """Time all of them on twenty thousand images of MNIST's size."""
    images, name = toy.load_images(_N_IMAGES)
    rounds = 7 if full else 3
    return [
        _preprocess(images, name, rounds),
        _mixture_fit(images[:5000], rounds, "mixture fit, both facets", "diagonal"),
        _mixture_fit(images[:5000], rounds, "mixture fit, full covariances", "full"),
        _random_rows(images, rounds),
    ]


def _preprocess(images: toy.Images, name: str, rounds: int) -> Line:
    with tempfile.TemporaryDirectory() as scratch:
        layout, own = Layout(Path(scratch), "toy"), Path(scratch) / "images.npy"
        np.save(own, images[:, 0])
        digits = load_params(toy.ROOT).experiments["digits"].preprocess
        params = replace(digits, source="npy", path=str(own))
        scan_source(layout, params)

        def plain() -> None:
            with h5py.File(Path(scratch) / "plain.h5", "w") as file:
                file["images"] = np.load(own)
                file.flush()

        return compare(
            f"preprocess, {name}",
            lambda: prepare_images(layout, params),
            plain,
            "the same array read and written",
            rounds=rounds,
            items=len(images),
        )


def _mixture_fit(images: toy.Images, rounds: int, name: str, covariance: Literal["diagonal", "full"]) -> Line:
    sections = toy.experiment()
    section = replace(sections.model, covariance=(covariance,) * sections.model.n_facets)
    kind = {"diagonal": "diag", "full": "full"}[covariance]
    model, pixels = MultiFacetVae(section, toy.SPEC), torch.from_numpy(images)
    init_network(model, [0], pixels[:512].float() / 255)
    means = encode_means(model, [pixels])
    params = replace(sections.init_mog, max_iter=20)

    def plain() -> None:
        for z, n_components in zip(means, sections.model.n_components, strict=True):
            GaussianMixture(n_components, covariance_type=kind, max_iter=20, random_state=0).fit(z[0].double().numpy())

    return compare(
        name,
        lambda: init_mixtures(model, [0], means, params),
        plain,
        "scikit-learn on the same latents",
        rounds=rounds,
        items=len(images),
    )


def _random_rows(images: toy.Images, rounds: int) -> Line:
    rows = np.sort(np.random.default_rng(0).choice(len(images), _BATCH, replace=False))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "train.h5"
        toy.write_images(path, images, "train")
        with ImageStore(path) as store, h5py.File(path) as file:
            stored: Any = file["images"]
            return compare(
                f"{_BATCH} random rows of a store",
                lambda: store.take(rows),
                lambda: stored[rows],
                "h5py's selection of rows",
                rounds=rounds,
                items=_BATCH,
            )


if __name__ == "__main__":
    report(measure)
