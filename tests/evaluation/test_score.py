import csv
import json

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from pipeline.config.sections import ScoreParams
from pipeline.core.errors import DataError, ModelError
from pipeline.core.groups import FacetGroups, MergeTree, ModelGroups, write_groups
from pipeline.evaluation import score as score_module
from pipeline.evaluation import score_models, write_score
from pipeline.evaluation.score import relative_entropy
from tests.evaluation.known import KnownModel, known_images, write_description, write_prepared

PARAMS = ScoreParams(baselines=True, baseline_images=100, bootstrap=200)
TRAIN = known_images([0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 0, 1, 0, 1, 0, 1])
TEST = known_images([0, 1, 2, 2], [1, 1, 0, 0])
SHAPES = {"train": [5, 5, 5, 6, 6, 5, 7, 7], "test": [5, 6, 7, 5]}


@pytest.fixture
def folders(tmp_path, monkeypatch):
    write_prepared(tmp_path / "prepared", {"train": TRAIN, "test": TEST}, {"shape": SHAPES})
    write_description(tmp_path / "model", seeds=[4, 7, 9], selected=7, unhealthy=[9])
    monkeypatch.setattr(score_module, "load_model", lambda folder, seed: KnownModel(shift=0 if seed == 7 else 1))
    return tmp_path / "model", tmp_path / "prepared"


def scored(folders):
    model, prepared = folders
    return score_models(model, prepared, PARAMS)


def test_selected_seed_by_hand(folders):
    metrics = scored(folders).metrics
    assert set(metrics["seeds"]) == {"4", "7"}
    assert metrics["unhealthy_seeds"] == [9]
    facet = metrics["selected"]["facets"]["facet_0"]
    assert (facet["n_components"], facet["occupied"], facet["occupied_train"]) == (3, 3, 3)
    assert facet["largest_share"] == 0.5
    assert facet["confidence"] == pytest.approx(0.9)
    assert facet["size_entropy"] == pytest.approx((0.5 * np.log(2) + 0.5 * np.log(4)) / np.log(3))
    shape = facet["factors"]["shape"]
    assert (shape["accuracy"], shape["accuracy_same_split"], shape["hungarian"]) == (0.75, 0.75, 0.75)
    assert (shape["accuracy_paper"], shape["accuracy_same_split_train"]) == (0.75, 7 / 8)
    assert metrics["chance"]["facet_0"]["shape"] == shape["chance"]
    pair = metrics["selected"]["independence"]["facet_0-facet_1"]
    assert pair["mutual_information"] == pytest.approx(np.log(2))


def test_mean_and_deviation_over_healthy_seeds(folders):
    metrics = scored(folders).metrics
    # Seed 4's assigner at the mean names the components one further on; that is a mere renaming.
    first, second = (metrics["seeds"][seed]["facets"]["facet_1"]["factors"]["shape"] for seed in ("4", "7"))
    average = metrics["mean"]["facets"]["facet_1"]["factors"]["shape"]
    deviation = metrics["std"]["facets"]["facet_1"]["factors"]["shape"]
    assert average["nmi"] == (first["nmi"] + second["nmi"]) / 2
    assert deviation["chance"]["accuracy"] == 0
    assert average["hungarian"] == first["hungarian"] == 0.5  # two components, of which one has two of four images
    assert deviation["hungarian"] == 0


def test_a_single_seed_has_no_deviation(folders):
    write_description(folders[0], seeds=[7], selected=7)
    metrics = scored(folders).metrics
    assert metrics["std"]["facets"]["facet_0"]["confidence"] is None
    assert metrics["mean"] == metrics["selected"]


def test_baselines_stand_beside_every_facet(folders):
    metrics = scored(folders).metrics
    baselines = metrics["baselines"]
    for facet in ("facet_0", "facet_1"):
        for method in ("kmeans", "mixture"):
            assert 0.25 <= baselines[facet][method]["shape"]["accuracy_same_split"] <= 1
        difference = baselines[facet]["selected_minus_kmeans"]["shape"]
        assert difference["low"] <= difference["mean"] <= difference["high"]
        own = metrics["selected"]["facets"][facet]["factors"]["shape"]["accuracy"]
        assert difference["mean"] == own - baselines[facet]["kmeans"]["shape"]["accuracy"]


def test_groups_of_the_selected_seed_are_scored_as_components_are(folders, tmp_path):
    tree = MergeTree(((0, 2), (1, 3)), (0.25, 0.75))
    joined = FacetGroups(2, 0.8, (0, 1, 0), (0.6, 0.4), tree, 0.5)
    apart = FacetGroups(2, 1.0, (0, 1), (0.5, 0.5), MergeTree(((0, 1),), (1.0,)), None)
    write_groups(folders[0], ModelGroups("seeds", 1, 8, (joined, apart)))
    score = scored(folders)
    found, of_components = score.metrics["groups"], score.metrics["selected"]["facets"]
    assert {key: found["facet_0"][key] for key in ("n_groups", "certainty", "reproducibility")} == {
        "n_groups": 2, "certainty": 0.8, "reproducibility": 0.5,
    }  # fmt: skip
    # Test images lie in groups 0, 1, 0, 0, which training maps to the labels 5 and 6.
    expected, truth = [0, 1, 0, 0], SHAPES["test"]
    shape = found["facet_0"]["factors"]["shape"]
    assert (shape["accuracy"], shape["accuracy_same_split"], shape["hungarian"]) == (0.75, 0.75, 0.75)
    assert shape["ari"] == pytest.approx(adjusted_rand_score(truth, expected))
    assert shape["nmi"] == pytest.approx(normalized_mutual_info_score(truth, expected))
    same = ("accuracy", "hungarian", "nmi", "ari", "chance")  # of groups of one component each
    one, other = (each["facet_1"]["factors"]["shape"] for each in (found, of_components))
    assert [one[name] for name in same] == [other[name] for name in same]
    write_score(score, tmp_path)
    with (tmp_path / "facet_factor.csv").open() as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["model", "groups", "kmeans", "mixture"] * 2


def test_a_model_of_an_earlier_release_has_no_groups(folders):
    assert scored(folders).metrics["groups"] == {}


def test_without_labels_the_label_free_part_remains(folders, tmp_path):
    write_prepared(tmp_path / "bare", {"train": TRAIN, "test": TEST}, {})
    score = score_models(folders[0], tmp_path / "bare", PARAMS)
    assert score.metrics["classes"] == score.metrics["baselines"] == {}
    assert score.metrics["selected"]["facets"]["facet_0"]["factors"] == {}
    assert score.metrics["selected"]["facets"]["facet_0"]["occupied"] == 3
    write_score(score, tmp_path)
    for name in ("accuracy_by_seed", "facet_factor", "confusion"):
        assert len((tmp_path / f"{name}.csv").read_text().splitlines()) == 1


def test_files(folders, tmp_path):
    score = scored(folders)
    write_score(score, tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text()) == score.metrics
    assert json.loads((tmp_path / "summary.json").read_text())["facet_0"] == {
        "occupied": 3,
        "confidence": score.metrics["selected"]["facets"]["facet_0"]["confidence"],
        "shape": {
            "selected": 0.75,
            "mean": 0.75,
            "std": 0.0,
            "chance": score.metrics["chance"]["facet_0"]["shape"]["accuracy"],
            "kmeans": score.metrics["baselines"]["facet_0"]["kmeans"]["shape"]["accuracy"],
        },
    }
    with (tmp_path / "accuracy_by_seed.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["seed"], row["facet"]) for row in rows] == [
        ("4", "facet_0"), ("4", "facet_1"), ("7", "facet_0"), ("7", "facet_1"),
    ]  # fmt: skip
    assert (rows[2]["accuracy"], rows[2]["factor"], rows[1]["hungarian"]) == ("0.75", "shape", "0.5")
    with (tmp_path / "facet_factor.csv").open() as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["model", "kmeans", "mixture"] * 2
    with (tmp_path / "confusion.csv").open() as file:
        found = [tuple(row.values()) for row in csv.DictReader(file)]
    assert found[:4] == [
        ("facet_0", "shape", "0", "5", "5", "1"),
        ("facet_0", "shape", "1", "6", "6", "1"),
        ("facet_0", "shape", "2", "7", "5", "1"),
        ("facet_0", "shape", "2", "7", "7", "1"),
    ]


def test_a_model_of_other_images_and_an_empty_split_are_refused(folders, tmp_path):
    small = np.zeros((3, 1, 2, 2), np.uint8)
    write_prepared(tmp_path / "small", {"train": small, "test": small}, {})
    with pytest.raises(
        ModelError, match=r"a model of uint8 pixels 1×2×2, as .*train\.h5 does, got one of uint8 pixels 1×2×3; tr"
    ):
        score_models(folders[0], tmp_path / "small", PARAMS)
    write_prepared(tmp_path / "empty", {"train": TRAIN, "test": TEST[:0]}, {})
    with pytest.raises(DataError, match=r"test\.h5 must hold at least one image"):
        score_models(folders[0], tmp_path / "empty", PARAMS)


@pytest.mark.parametrize(("sizes", "expected"), [([3, 3, 3], 1.0), ([9, 0, 0], 0.0), ([5], 0.0)])
def test_relative_entropy(sizes, expected):
    assert relative_entropy(np.array(sizes)) == pytest.approx(expected)
