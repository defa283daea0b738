import csv
import json

import numpy as np
import pytest

from pipeline.evaluation.clusters import FacetClusters
from pipeline.paper import paper_results, write_paper
from pipeline.paper import results as paper_module
from pipeline.paper.results import swap_candidates
from tests.evaluation.trained import experiment

pytestmark = pytest.mark.no_shapes  # each table and figure has a test of its own


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def fewer(monkeypatch, tmp_path):
    monkeypatch.setattr(paper_module, "_SWAP_PAIRS", 30)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


def test_two_experiments_end_in_one_folder_of_tables(tmp_path):
    layouts = [experiment(tmp_path, "two", (4, 3), (1, 4, 4)), experiment(tmp_path, "one", (5,), (3, 4, 4), seeds=[2])]
    results = [paper_results(layout, temperature=0.5, n_samples=80) for layout in layouts]
    folder = tmp_path / "paper"
    write_paper(results, folder)
    tables = json.loads((folder / "two.json").read_text())
    assert tables == json.loads(json.dumps(results[0].tables))
    metrics = json.loads((layouts[0].artifact("score") / "metrics.json").read_text())

    best = tables["accuracy"]["digit"]["facet"]
    (own,) = (row for row in rows_of(folder / "table_2_accuracy.csv")
              if row["method"] == f"two, {best}" and row["convention"] == "accuracy_paper")  # fmt: skip
    mean = metrics["mean"]["facets"][best]["factors"]["digit"]
    assert float(own["mean"]) == mean["accuracy_paper"]
    assert float(own["chance"]) == mean["chance"]["accuracy_paper"]
    assert (own["n_seeds"], own["reported"]) == ("2", "False")
    kmeans = [row for row in rows_of(folder / "table_2_accuracy.csv") if row["method"] == "one, kmeans of raw pixels"]
    assert len(kmeans) == 3  # conventions
    single = rows_of(folder / "figure_10_stability.csv")[1]
    assert (single["experiment"], single["n_seeds"], single["std"]) == ("one", "1", "")
    assert [row["input"] for row in rows_of(folder / "table_1_probes.csv")] == ["facet_0", "facet_1", "all", "facet_0"]
    assert [(row["first"], row["second"]) for row in rows_of(folder / "independence.csv")] == [("facet_0", "facet_1")]
    drawn = rows_of(folder / "table_7_diversity.csv")
    assert [(row["experiment"], row["images"]) for row in drawn if row["distance"] == "pixel"] == [
        (name, images) for name in ("two", "one") for images in ("real", "generated")
    ]
    assert {row["n_images"] for row in drawn} == {"80"}
    assert "is missing" in tables["lpips_missing"]
    assert len(rows_of(folder / "figure_7_loss_forms.csv")) == 2
    courses = rows_of(folder / "figure_12_epochs.csv")
    assert len(courses) == (2 * 2 + 1) * 2  # two facets and seeds, one facet and seed; two epochs
    assert {row["experiment"] for row in courses} == {"two", "one"}


def test_pictures_follow_the_clusters_of_the_test_split(tmp_path):
    layout = experiment(tmp_path, "two", (4, 3), (1, 4, 4))
    results = paper_results(layout, temperature=1.0, n_samples=80)
    for j in range(2):
        key = f"facet_{j}"
        clusters = results.tables["clusters"][key]
        assert 1 <= len(clusters) == len(set(clusters)) <= (4, 3)[j]
        titles = results.tables["titles"][key]  # nothing is published, so clusters have numbers alone
        assert [title.split(",")[0] for title in titles] == [f"component {c}" for c in range((4, 3)[j])]
        assert len(results.tables["swap_clusters"][key]) == 8
        assert results.pictures[f"examples_{key}"].shape == (len(clusters), 10, 1, 4, 4)
        assert results.pictures[f"samples_{key}"].shape == (len(clusters), 10, 1, 4, 4)
        assert results.pictures[f"swaps_{key}"].shape == (8, 8, 1, 4, 4)
    assert results.pictures["swap_images"].shape == (8, 1, 4, 4)


@pytest.mark.parametrize(("n_components", "image_shape"), [((3,), (1, 4, 4)), ((1, 2, 3, 2), (3, 5, 4))])
def test_without_labels_and_with_one_or_four_facets(tmp_path, n_components, image_shape):
    layout = experiment(tmp_path, "bare", n_components, image_shape, labels=False)
    results = paper_results(layout, temperature=1.0, n_samples=80)
    assert results.tables["accuracy"] == results.tables["probes"] == {}
    assert set(results.tables["swaps"]) == {f"facet_{j}" for j in range(len(n_components))}
    write_paper([results], tmp_path / "paper")
    assert rows_of(tmp_path / "paper" / "table_2_accuracy.csv") == []
    if n_components[0] == 1:
        assert results.tables["swaps"]["facet_0"] is None


def test_the_literature_stands_beside_its_own_dataset_only(tmp_path):
    layout = experiment(tmp_path, "two", (4, 3), (1, 4, 4))
    results = paper_results(layout, temperature=1.0, n_samples=80)
    for source, methods in (("mnist", 8), ("digits", 0), ("scenes", 4)):
        write_paper([type(results)({**results.tables, "source": source}, {})], tmp_path / "paper")
        reported = [row for row in rows_of(tmp_path / "paper" / "table_2_accuracy.csv") if row["reported"] == "True"]
        assert len(reported) == methods
        assert {row["source"] for row in reported} <= {"mnist", "shapes3d"}
        drawn = [row for row in rows_of(tmp_path / "paper" / "table_7_diversity.csv") if row["reported"] == "True"]
        methods = ["paper", "VaDE, paper", "MFCVAE, paper"] if source == "mnist" else []
        assert [row["experiment"] for row in drawn] == methods


def test_swap_candidates_are_sure_and_of_many_clusters():
    confidence = np.array([0.99, 0.98, 0.5, 0.9, 0.8], np.float32)
    first, second = np.array([0, 0, 1, 1, 2], np.int32), np.array([0, 0, 0, 1, 1], np.int32)
    facets = [FacetClusters(ids, confidence, confidence, ids, n) for ids, n in ((first, 3), (second, 2))]
    assert swap_candidates(facets, 3).tolist() == [0, 3, 4]
    assert sorted(swap_candidates(facets, 99).tolist()) == [0, 1, 2, 3, 4]
