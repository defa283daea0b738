"""A made-up experiment: models, assignments and batches written as the stages and ingestion write them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, settings

from pipeline.core.groups import FacetGroups, MergeTree, ModelGroups, write_groups
from pipeline.core.records import FacetAssignment
from pipeline.table_format.build import write_assignments
from pipeline.tables import History

Clusters = Sequence[np.ndarray]
"""Component of each image, one array a facet."""

N_COMPONENTS = (4, 3)

patient = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
"""For property tests: slow machines are no fault."""


def make_ids(n_images: int, start: int = 0) -> np.ndarray:
    """Return image ids that differ in every digit, as text."""
    numbers = (np.arange(start, start + n_images, dtype=np.uint64) + 1) * np.uint64(0x9E3779B97F4A7C15)
    return np.array([f"i-{number:016x}{~number:016x}" for number in numbers])


def make_facet(clusters: np.ndarray, responsibilities: int = 0) -> FacetAssignment:
    """Return an assignment to given components; every other column is some function of the row."""
    n_images = len(clusters)
    rows = np.arange(n_images, dtype=np.float32)
    confidence = (1 / (1 + rows % 7)).astype(np.float32)
    return FacetAssignment(
        cluster_id=clusters.astype(np.int32),
        confidence=confidence,
        entropy=(rows % 5 / 4).astype(np.float32),
        typicality=-rows,
        runner_up=((clusters + 1) % 3).astype(np.int32),
        runner_up_confidence=np.zeros(n_images, np.float32),
        group_confidence=(1 + confidence) / 2,
        resp=np.full((n_images, responsibilities), 0.5, np.float32) if responsibilities else None,
    )


@dataclass(frozen=True)
class Bench:
    """An experiment below ``root``, whose files are written by hand."""

    root: Path
    experiment: str = "toy"

    @property
    def published(self) -> Path:
        return self.root / "published" / self.experiment

    @property
    def batches(self) -> Path:
        return self.root / "data" / "batches" / self.experiment

    @property
    def history(self) -> History:
        return History(self.published)

    def write_model(
        self,
        model_version: str,
        clusters: Mapping[str, Clusters],
        ids: Mapping[str, np.ndarray],
        n_components: Sequence[int] = N_COMPONENTS,
        groups: Sequence[Sequence[int]] | None = None,
    ) -> Path:
        """Write a model's folder as if it had just been staged: everything in ``clusters`` came out of stage assign.

        By default the first two components of each facet form a group. An empty list of groups leaves a model of a
        release that had none.
        """
        folder = self.published / "models" / model_version
        write_model_files(folder, model_version, [batch for batch in clusters if batch != "test"], n_components)
        if groups is None:
            groups = [[max(0, component - 1) for component in range(k)] for k in n_components]
        if groups:
            write_groups(folder, model_groups(groups))
        for batch_id, facets in clusters.items():
            write_facets(folder / "assignments" / batch_id, batch_id, model_version, ids[batch_id], facets)
        write_images(folder / "prepared" / "images.parquet", {batch: ids[batch] for batch in clusters})
        write_quarantine(folder / "prepared" / "quarantine.parquet", [("broken.png", "no image")])
        return folder

    def write_batch(self, batch_id: str, ids: np.ndarray, quarantined: int = 0, created: str = "2026-11-01") -> None:
        """Write the folder of an ingested batch, its shard apart."""
        folder = self.batches / batch_id
        write_images(folder / "images.parquet", {batch_id: ids})
        if quarantined:
            write_quarantine(
                folder / "quarantine.parquet", [(f"{batch_id}-{i}.png", "truncated") for i in range(quarantined)]
            )
        record = {
            "id": batch_id,
            "created": f"{created}T12:00:00+00:00",
            "n_images": len(ids),
            "quarantined": quarantined,
            "duplicates": 0,
            "source": "inbox",
            "drift": {"scores": [0.1, 0.2], "drifted": False},
        }
        (folder / "batch.json").write_text(json.dumps(record))

    def assign(self, batch_id: str, model_version: str, ids: np.ndarray, clusters: Clusters) -> Path:
        """Write a batch's assignments outside ``published`` and return their folder."""
        folder = self.root / ".work" / model_version / batch_id
        write_facets(folder, batch_id, model_version, ids, clusters)
        return folder

    def publish(
        self,
        model_version: str,
        assigned: Mapping[str, Path] | None = None,
        removed: frozenset[str] = frozenset(),
        min_jaccard: float = 0.3,
    ) -> int:
        """Publish a staged model and return the number of the current version."""
        self.history.publish_model(
            model_version, batches=self.batches, assigned=assigned or {}, removed=removed, min_jaccard=min_jaccard
        )
        return self.history.served().version


def write_model_files(
    folder: Path, model_version: str, trained_on: Sequence[str], n_components: Sequence[int] = N_COMPONENTS
) -> None:
    """Write what stage train leaves: weights, ``model.json``, ``clusters.json``, ``history.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    model = {
        "schema": 1,
        "experiment": "toy",
        "model_version": model_version,
        "selected_seed": 1,
        "selection": {"criterion": "validation_elbo", "reason": "best"},
        "model": {"n_components": list(n_components), "latent_dims": [2] * len(n_components)},
        "image_shape": [1, 8, 8],
        "trained_on": list(trained_on),
        "n_train": 100,
        "seeds": [healthy_seed(0, len(n_components)), healthy_seed(1, len(n_components))],
    }
    (folder / "model.json").write_text(json.dumps(model))
    weights = [{"mixing_weights": [1 / k] * k} for k in n_components]
    (folder / "clusters.json").write_text(json.dumps({"facets": weights}))
    (folder / "history.csv").write_text("seed,epoch\n0,1\n")
    for seed in (0, 1):
        (folder / f"seed-{seed}.safetensors").write_bytes(f"weights of {model_version}".encode())


def model_groups(component_groups: Sequence[Sequence[int]]) -> ModelGroups:
    """Return groups of components, each facet with a tree that joins its components one after the other."""

    def facet(groups: Sequence[int]) -> FacetGroups:
        k = len(groups)
        merges = tuple((0 if step == 0 else k + step - 1, step + 1) for step in range(k - 1))
        tree = MergeTree(merges, tuple(np.linspace(0.1, 0.9, k - 1).tolist()))
        n_groups = max(groups) + 1
        return FacetGroups(n_groups, 0.8, tuple(groups), (1 / n_groups,) * n_groups, tree, 0.7)

    return ModelGroups("seeds", 4, 100, tuple(map(facet, component_groups)))


def healthy_seed(seed: int, n_facets: int) -> dict[str, object]:
    """Return a seed's record in ``model.json`` that passes any sensible gate."""
    facet = {"occupied": 3, "max_share": 0.4, "entropy": 0.9, "active_units": 2, "confidence": 0.9}
    return {
        "seed": seed,
        "healthy": True,
        "reason": None,
        "validation_elbo": -100.0 + seed,
        "epochs": 5,
        "facets": [dict(facet) for _ in range(n_facets)],
    }


def write_facets(folder: Path, batch_id: str, model_version: str, ids: np.ndarray, clusters: Clusters) -> None:
    """Write the assignments of a batch."""
    with write_assignments(folder, batch_id=batch_id, model_version=model_version, n_facets=len(clusters)) as writer:
        writer.write(ids, [make_facet(facet) for facet in clusters])


def write_images(path: Path, batches: Mapping[str, np.ndarray]) -> None:
    """Write ``images.parquet`` of some batches."""
    tables = [
        pa.table(
            {
                "image_id": list(ids),
                "batch_id": [batch_id] * len(ids),
                "position": pa.array(np.arange(len(ids))),
                "path": [f"{batch_id}/{row}.png" for row in range(len(ids))],
                "height": pa.array(np.full(len(ids), 28, np.int32)),
                "width": pa.array(np.full(len(ids), 30, np.int32)),
            }
        )
        for batch_id, ids in batches.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.concat_tables(tables), path)


def write_quarantine(path: Path, rows: Sequence[tuple[str, str]]) -> None:
    """Write ``quarantine.parquet``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"file": [file for file, _ in rows], "reason": [reason for _, reason in rows]}), path)


def cycle(n_images: int, n_components: int, shift: int = 0) -> np.ndarray:
    """Return components 0, 1, 2, … round and round."""
    return (np.arange(n_images) + shift) % n_components


def published_bench(root: Path, n_train: int = 60, n_test: int = 20) -> tuple[Bench, dict[str, np.ndarray]]:
    """Return an experiment with version 1 published, and the image ids of its batches."""
    bench = Bench(root)
    ids = {"train": make_ids(n_train), "test": make_ids(n_test, n_train)}
    clusters = {batch: [cycle(len(of), k) for k in N_COMPONENTS] for batch, of in ids.items()}
    bench.write_model("m-aaaaaaaaaaaa", clusters, ids)
    bench.publish("m-aaaaaaaaaaaa")
    return bench, ids
