import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from pipeline.core.errors import DataError, ResourceError
from pipeline.core.storage import read_json, write_json
from pipeline.core.upgrades import PICTURES, SCORES
from pipeline.page import compose, rows
from pipeline.page.curves import add_accuracies, read_curves
from pipeline.page.scores import dependence_rows, score_rows
from pipeline.page.shifts import shifted_clusters
from pipeline.report import write_assets
from pipeline.report.packing import unpack
from tests.page.builders import cross_counts, history, metrics, publish, write_page
from tests.report.builders import MODEL_VERSION, make_showcase


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_page(tmp_path_factory.mktemp("published"), make_showcase()).read_text()


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_every_sprite_is_inside(page: str) -> None:
    for sheet in data_of(page)["sheets"].values():
        for file in sheet["files"]:
            found = re.search(rf'id="sprite:{re.escape(file)}">([^<]*)<', page)
            assert found, file
            assert base64.b64decode(found[1])[8:12] == b"WEBP"


def test_what_no_facet_was_told_is_told_of_none(page: str) -> None:
    data = data_of(page)
    assert data["help"] == [None] * len(data["model"]["hints"])


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert "url(http" not in page
    assert "default-src 'none'" in page
    assert "connect-src" not in page


def test_no_placeholder_is_left(page: str) -> None:
    assert "{{" not in page.split('<script type="text/plain"')[0]


def test_rows_of_the_published_version_are_inside(page: str) -> None:
    data = data_of(page)
    assert data["published"]["version"] == 3
    assert data["clusters"][0]["name"] == "thin strokes"
    assert [batch["status"] for batch in data["batches"]] == ["source", "source", "live", "live"]
    assert data["batches"][2]["thumbnails"]["sheet"] in data["sheets"]
    assert data["lineage"][0]["old_uid"] == "f0-c901"


def test_names_cannot_break_out_of_the_data(tmp_path: Path) -> None:
    given = publish(tmp_path, make_showcase())
    evil = "</script><script>alert(1)</script><!--"
    named = replace(given.clusters[0], name=evil)
    page = compose(tmp_path, replace(given, clusters=[named, *given.clusters[1:]])).read_text()
    assert evil not in page
    assert data_of(page)["clusters"][0]["name"] == evil


def test_composing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    given = publish(tmp_path, make_showcase())
    first = compose(tmp_path, given).read_bytes()
    assert compose(tmp_path, given).read_bytes() == first


def test_a_newer_schema_is_refused_and_the_old_page_stays(tmp_path: Path) -> None:
    given = publish(tmp_path, make_showcase())
    before = compose(tmp_path, given).read_bytes()
    path = tmp_path / "models" / MODEL_VERSION / "report/page.json"
    write_json(path, read_json(path) | {"schema": 99})
    with pytest.raises(ResourceError, match=rf"page\.json must be of schema {PICTURES.schema} or an older one, got 99"):
        compose(tmp_path, given)
    assert (tmp_path / "report.html").read_bytes() == before


def test_a_missing_history_is_named(tmp_path: Path) -> None:
    given = publish(tmp_path, make_showcase())
    (tmp_path / "models" / MODEL_VERSION / "history.csv").unlink()
    with pytest.raises(DataError, match=r"history.csv is missing; run stage train"):
        compose(tmp_path, given)


def test_scores_hold_selected_spread_chance_and_baselines() -> None:
    (row, _) = score_rows(SCORES.upgrade(metrics(make_showcase()), "metrics.json"))
    assert (row["facet"], row["factor"], row["n_classes"]) == (0, "digit", 6)
    assert row["scores"]["accuracy"] == {
        "selected": 0.8,
        "mean": 0.78,
        "std": 0.03,
        "by_seed": {"0": 0.8, "1": 0.76},
        "chance": 0.2,
        "baselines": {"kmeans": 0.7, "mixture": 0.7},
    }
    # The builder's numbers are those of the first release, which measured the paper's convention alone.
    assert row["scores"]["accuracy_paper"]["selected"] == pytest.approx(0.82)
    assert not {"hungarian", "accuracy_same_split"} & row["scores"].keys()
    assert row["over_kmeans"] == {"mean": 0.1, "low": 0.05, "high": 0.15}


def test_without_labels_there_are_no_scores() -> None:
    assert score_rows(metrics(make_showcase(has_labels=False))) == []


def test_dependence_is_counted_over_all_published_images_and_left_out_where_there_are_none(page: str) -> None:
    counts = cross_counts(make_showcase())[0, 1]
    assert counts.sum() > 240  # batches are counted, too
    (found,) = data_of(page)["dependence"]
    assert found == dependence_rows({(0, 1): counts, (0, 2): np.zeros((4, 3), np.int64)})[0]
    assert found["images"] == counts.sum()
    n_by_cell = [((r, c), n) for (r, c), n in np.ndenumerate(counts)]
    rows, columns = (np.repeat([cell[axis] for cell, _ in n_by_cell], [n for _, n in n_by_cell]) for axis in (0, 1))
    assert found["normalised"] == pytest.approx(normalized_mutual_info_score(rows, columns), rel=1e-9)
    np.testing.assert_array_equal(unpack(data_of(page)["crosses"][0]["counts"]), counts)


@pytest.mark.parametrize(
    ("known", "later", "expected"),
    [
        ([600, 400], [6, 4], []),
        ([600, 400], [1, 9], []),  # ten images tell nothing
        ([10, 990], [1, 9], []),
        ([600, 400], [60, 40], []),
        ([600, 400], [30, 70], [0, 1]),
        ([50, 450, 500], [4, 48, 48], []),
        ([50, 450, 500], [30, 40, 30], [0, 2]),
        ([600, 0], [0, 0], None),
        ([0, 0], [600, 0], None),
    ],
)
def test_only_differences_beyond_chance_are_marked(known: list[int], later: list[int], expected: Any) -> None:
    def batch(name: str, status: str, sizes: list[int]) -> rows.BatchRow:
        return rows.BatchRow(name, status, None, None, sum(sizes), 0, 0, None, None, [sizes], None)

    arrived = [batch("b-1", "live", later)]
    batches = [batch("train", "source", known), batch("b-0", "removed", [9, 9]), *arrived]
    assert shifted_clusters(batches, arrived) == (None if expected is None else [expected])


def test_curves_keep_gaps_and_are_thinned(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text(history(1))
    curves = read_curves(path)
    assert curves["terms"] == ["elbo", "log_px", "kl_0", "kl_z_0", "kl_c_0"]
    assert [(s["seed"], s["split"]) for s in curves["series"]] == [
        (s, t) for s in (0, 1) for t in ("train", "validation")
    ]
    assert curves["series"][0]["values"]["kl_z_0"] == [None] * 40
    assert curves["series"][2]["values"]["elbo"][-1] is None
    lines = "".join(f"0,{n},0,train,{n}\n" for n in range(2001))
    path.write_text("seed,epoch,phase,split,elbo\n" + lines)
    (series,) = read_curves(path)["series"]
    assert len(series["epoch"]) <= 401
    assert (series["epoch"][0], series["epoch"][-1]) == (0, 2000)


@pytest.mark.parametrize("of", ["validation", "test"])
def test_accuracies_by_epoch_are_a_curve_of_the_images_that_they_are_of(of: str, tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("seed,epoch,phase,split,elbo\n" + "".join(f"0,{n},{n},train,-1\n" for n in range(2)))
    if of == "validation":
        path.write_text(path.read_text() + "".join(f"0,{n},{n},validation,-2\n" for n in range(2)))
    curves = add_accuracies(read_curves(path), {"digit": {"facet_0": {"0": [None, 0.5]}}}, of)
    train, watched = curves["series"]
    assert curves["terms"] == ["elbo", "accuracy_0_digit"]
    assert train["values"] == {"elbo": [-1, -1], "accuracy_0_digit": [None, None]}
    assert (watched["split"], watched["epoch"], watched["phase"]) == (of, [0, 1], [0, 1])
    bound = [-2, -2] if of == "validation" else [None, None]
    assert watched["values"] == {"elbo": bound, "accuracy_0_digit": [None, 0.5]}


def test_a_history_without_its_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("seed,epoch,elbo\n0,0,1\n")
    with pytest.raises(DataError, match="must have the column phase, got seed, epoch, elbo"):
        read_curves(path)


@pytest.mark.parametrize("n_components", [(1,), (3, 1), (3, 4), (2, 3, 4, 5)])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 96, 96)])
def test_any_number_of_facets_and_any_shape_composes(
    tmp_path: Path, n_components: tuple[int, ...], shape: tuple[int, int, int]
) -> None:
    page = write_page(tmp_path, make_showcase(shape, n_components, n_images=60), longer_side=24)
    data = data_of(page.read_text())
    assert len(data["facets"]) == len(n_components)
    assert len(data["crosses"]) == len(n_components) * (len(n_components) - 1) // 2
    assert (data["swaps"] is None) == (len(n_components) == 1)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="must be writable"):
        write_assets(tmp_path / "file" / "report", make_showcase(n_images=40), 32)
