"""The paper's tables as CSV, JSON and arrays: ours and the reported ones side by side, each marked as what it is."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.storage import atomic_dir, write_json
from pipeline.evaluation.tabular import write_csv
from pipeline.paper.literature import KINDRED_SOURCES, REPORTED_ACCURACIES, REPORTED_LPIPS, REPORTED_PROBES
from pipeline.paper.results import PaperResults

Row = tuple[Any, ...]


def write_paper(results: Sequence[PaperResults], folder: Path) -> None:
    """Write one folder with the results of several experiments, replacing an older one as a whole.

    ``<experiment>.json`` and ``<experiment>.npz`` hold everything of one experiment; the CSVs hold one table each, of
    all experiments and of the literature. An empty field is a number that does not apply.
    """
    with atomic_dir(folder) as temporary:
        for result in results:
            name = result.tables["experiment"]
            write_json(temporary / f"{name}.json", result.tables)
            pictures: dict[str, Any] = dict(result.pictures)
            np.savez_compressed(temporary / f"{name}.npz", **pictures)
        every = [result.tables for result in results]
        for name, (columns, rows) in _TABLES.items():
            write_csv(temporary / f"{name}.csv", columns, rows(every))


def _probe_rows(every: Sequence[dict[str, Any]]) -> Iterator[Row]:
    for tables in every:
        for factor, inputs in tables["probes"].items():
            for key, found in inputs.items():
                std = found["std"] if found["n_runs"] > 1 else None
                yield (
                    tables["experiment"],
                    tables["source"],
                    factor,
                    key,
                    found["mean"],
                    std,
                    found["chance"],
                    False,
                    "",
                )
    for row in REPORTED_PROBES:
        if row.source in _sources(every):
            for key, mean in row.accuracies.items():
                yield "MFCVAE, paper", row.source, row.factor, key, mean, None, None, True, row.note


def _accuracy_rows(every: Sequence[dict[str, Any]]) -> Iterator[Row]:
    for tables in every:
        for factor, found in tables["accuracy"].items():
            for convention in ("accuracy_paper", "accuracy_same_split", "accuracy"):
                mean, std = found["mean"][convention], found["std"][convention]
                chance, n_seeds = found["mean"]["chance"][convention], found["n_seeds"]
                method = f"{tables['experiment']}, {found['facet']}"
                yield method, tables["source"], factor, convention, mean, std, chance, n_seeds, False, ""
                for name, scores in found["baselines"].items():
                    method, chance = f"{tables['experiment']}, {name} of raw pixels", scores["chance"][convention]
                    yield method, tables["source"], factor, convention, scores[convention], None, chance, 1, False, ""
    for row in REPORTED_ACCURACIES:
        if row.source in _sources(every):
            kind = f"{row.facets} facet, {'generative' if row.is_generative else 'not generative'}"
            note = f"{kind}, {row.note}" if row.note else kind
            convention = "accuracy_paper"
            yield row.method, row.source, row.factor, convention, row.mean, row.std, None, None, True, note


def _generalisation_rows(every: Sequence[dict[str, Any]]) -> Iterator[Row]:
    for tables in every:
        for factor, found in tables["accuracy"].items():
            mean, std = found["mean"], found["std"]
            train, test = "accuracy_same_split_train", "accuracy_same_split"
            yield tables["experiment"], factor, found["facet"], mean[train], std[train], mean[test], std[test]


def _stability_rows(every: Sequence[dict[str, Any]]) -> Iterator[Row]:
    for tables in every:
        for factor, found in tables["accuracy"].items():
            spread = found["spread"]
            yield (
                tables["experiment"], factor, spread["facet"], spread["n_seeds"], spread["n_unhealthy"],
                spread["mean"], spread["std"], spread["lowest"], spread["highest"],
            )  # fmt: skip


def _epoch_rows(every: Sequence[dict[str, Any]]) -> Iterator[Row]:
    for tables in every:
        for factor, facets in tables["epochs"].items():
            for facet, seeds in facets.items():
                for seed, course in seeds.items():
                    for epoch, accuracy in enumerate(course):
                        if accuracy is not None:
                            yield tables["experiment"], tables["epochs_of"], factor, facet, seed, epoch, accuracy


def _swap_rows(every: Sequence[dict[str, Any]]) -> Iterator[Row]:
    for tables in every:
        for facet, found in tables["swaps"].items():
            if found is not None:
                for other, kept in found["kept"].items() or [("", None)]:
                    restored = found["reconstructed"]
                    yield (
                        tables["experiment"], facet, found["n_images"], found["changed"], found["arrived"],
                        other, kept, restored[facet], restored.get(other),
                    )  # fmt: skip


def _diversity_rows(every: Sequence[dict[str, Any]]) -> Iterator[Row]:
    for tables in every:
        for distance, found in tables["diversity"].items():
            for images, value in found.items():
                error, n_images = value["standard_error"], 2 * value["n_pairs"]
                yield tables["experiment"], tables["source"], distance, images, value["mean"], error, n_images, False
    for row in REPORTED_LPIPS:
        if row.source in _sources(every):
            yield row.method, row.source, "lpips", row.images, row.mean, None, None, True


def _facet_factor_rows(every: Sequence[dict[str, Any]]) -> Iterator[Row]:
    for tables in every:
        for facet, factors in tables["facet_factor"].items():
            for factor, found in factors.items():
                scores = found["accuracy"], found["chance"]["accuracy"], found["nmi"], found["ari"]
                yield tables["experiment"], facet, factor, *scores


def _independence_rows(every: Sequence[dict[str, Any]]) -> Iterator[Row]:
    for tables in every:
        for pair, found in tables["independence"].items():
            values = found["mutual_information"], found["normalised"], found["chance"]
            yield tables["experiment"], *pair.split("-"), *values


def _loss_rows(every: Sequence[dict[str, Any]]) -> Iterator[Row]:
    for tables in every:
        found = tables["loss_forms"]
        yield tables["experiment"], found["primary"], found["alternate"], found["gradient_difference"]


_TABLES = {
    "table_1_probes": (
        ("experiment", "source", "factor", "input", "mean", "std", "chance", "reported", "note"),
        _probe_rows,
    ),
    "table_2_accuracy": (
        ("method", "source", "factor", "convention", "mean", "std", "chance", "n_seeds", "reported", "note"),
        _accuracy_rows,
    ),
    "table_7_diversity": (
        ("experiment", "source", "distance", "images", "mean", "standard_error", "n_images", "reported"),
        _diversity_rows,
    ),
    "figure_7_loss_forms": (("experiment", "primary", "alternate", "gradient_difference"), _loss_rows),
    "figure_10_stability": (
        ("experiment", "factor", "facet", "n_seeds", "n_unhealthy", "mean", "std", "lowest", "highest"),
        _stability_rows,
    ),
    "figure_12_epochs": (
        ("experiment", "images", "factor", "facet", "seed", "epoch", "accuracy"),
        _epoch_rows,
    ),
    "figure_12_generalisation": (
        ("experiment", "factor", "facet", "train_mean", "train_std", "test_mean", "test_std"),
        _generalisation_rows,
    ),
    "swap_test": (
        ("experiment", "facet", "n_images", "changed", "arrived", "other", "kept", "restored", "other_restored"),
        _swap_rows,
    ),
    "facet_factor": (("experiment", "facet", "factor", "accuracy", "chance", "nmi", "ari"), _facet_factor_rows),
    "independence": (
        ("experiment", "first", "second", "mutual_information", "normalised", "chance"),
        _independence_rows,
    ),
}


def _sources(every: Sequence[dict[str, Any]]) -> set[str]:
    own = {tables["source"] for tables in every}
    return own | {KINDRED_SOURCES[source] for source in own if source in KINDRED_SOURCES}
