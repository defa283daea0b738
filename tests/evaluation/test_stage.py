from types import SimpleNamespace

import pytest

from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.stages.score import run
from tests.evaluation.trained import SCORE, experiment


def test_writes_the_declared_files_and_replaces_older_ones(tmp_path):
    layout = experiment(tmp_path, "two", (4, 3), (1, 4, 4))
    folder = layout.artifact("score")
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "left_over.csv").touch()
    run(layout, SimpleNamespace(score=SCORE))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    assert set(first) == {
        "metrics.json",
        "summary.json",
        "accuracy_by_seed.csv",
        "accuracy_by_epoch.csv",
        "facet_factor.csv",
        "confusion.csv",
    }


def test_without_a_model_nothing_is_written(tmp_path):
    with pytest.raises(DataError, match=r"model\.json is missing; run the stage that writes it"):
        run(Layout(tmp_path, "two"), SimpleNamespace(score=SCORE))
    assert not Layout(tmp_path, "two").artifact("score").exists()
