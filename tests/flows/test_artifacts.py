"""What a rebuild shows on Prefect's pages, from scores as stage score writes them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.layout import Layout
from pipeline.datasets.prepare.quarantine import Account, write_quarantine_table
from pipeline.evaluation import score_models, write_score
from pipeline.flows import artifacts
from pipeline.operations.repro import StageRun
from tests.evaluation.trained import SCORE, experiment
from tests.repository import STAGES


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What would go to the Prefect server, by kind."""
    kept: dict[str, dict[str, Any]] = {}
    for kind in ("markdown", "table", "link"):
        monkeypatch.setattr(
            artifacts, f"create_{kind}_artifact", lambda kind=kind, **artifact: kept.setdefault(kind, artifact)
        )
    return kept


def rows_of_rebuild(layout: Layout, shown: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    runs = [StageRun(stage, "ran", "it has not run yet", 1.0) for stage in STAGES]
    account = Account(4, {"is empty": 1}, copies=0, removed=0)
    write_quarantine_table(layout.prepared / "quarantine.parquet", [("a.png", "is empty")], account)
    artifacts.show_rebuild(layout, runs, {"version": 1, "is_new": True})
    assert set(shown) == {"markdown", "table", "link"}
    assert "Images of the source: 1 of 4 set aside: 1 × is empty" in shown["markdown"]["markdown"]
    return shown["table"]["table"]


@pytest.mark.parametrize("seeds", [(5,), (5, 6)])
@pytest.mark.parametrize("baselines", [True, False])
def test_scores_of_one_or_more_seeds_with_and_without_baselines(
    tmp_path: Path, shown: dict[str, dict[str, Any]], seeds: tuple[int, ...], baselines: bool
) -> None:
    layout = experiment(tmp_path, "two", (4, 3), (1, 4, 4), seeds=seeds)
    score = score_models(layout.artifact("model"), layout.prepared, replace(SCORE, baselines=baselines))
    write_score(score, layout.artifact("score"))
    rows = rows_of_rebuild(layout, shown)
    assert [(row["facet"], row["factor"]) for row in rows] == [(0, "digit"), (1, "digit")]
    for row in rows:
        assert ("±" in row["all seeds"]) == (len(seeds) > 1)
        assert float(row["all seeds"].partition(" ")[0]) > 0
        assert ("k-means" in row) == baselines
    assert "raw pixels" in shown["table"]["description"]  # what the baselines cluster


def test_scores_without_labels(tmp_path: Path, shown: dict[str, dict[str, Any]]) -> None:
    layout = experiment(tmp_path, "two", (4, 3), (1, 4, 4), labels=False)
    assert [set(row) for row in rows_of_rebuild(layout, shown)] == [
        {"facet", "occupied clusters", "mean confidence"}
    ] * 2
