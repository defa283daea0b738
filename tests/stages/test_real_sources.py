"""The paper's real images through the whole DAG to tables, trained for a moment."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machine import describe_machine
from tests.repository import PROJECT, STAGES, Repository, shipped_params

SHARED = PROJECT.parent / "shared" / "data"
IMAGES = {"svhn": 8000, "mnist_fast": 70_000}
EPOCHS = {"svhn": (1, 1), "mnist_fast": (2, 5)}  # until facet 0 is of some use
RESULTS = PROJECT / "benchmarks" / "results" / "real_sources.json"


def short(experiment: str) -> dict[str, Any]:
    """Return the shipped experiment with one seed, a few epochs and no baselines."""
    sections = deepcopy(shipped_params()["experiments"][experiment])
    sections["seeds"] = [0]
    for phase, epochs in zip(sections["train"]["phases"], EPOCHS[experiment], strict=True):
        phase["epochs"] = epochs
    sections["train"]["min_entropy"] = 0.0  # so short a training fills few clusters
    sections["score"]["baselines"] = False
    gate = sections["publish"]["gate"]
    gate |= {"min_occupied": 0.0, "max_share": 1.0, "min_entropy": 0.0, "min_active_units": 0, "min_confidence": 0.0}
    return sections


@pytest.mark.soak
@pytest.mark.parametrize("experiment", list(IMAGES))
def test_real_images_become_tables(tmp_path: Path, experiment: str) -> None:
    name = experiment.removesuffix("_fast")
    source = SHARED / name
    if not source.is_dir():
        pytest.skip(f"no real images: put them at {source}")
    repository = Repository.create(tmp_path / "repository")
    (repository.root / "data" / "raw").mkdir()
    (repository.root / "data" / "raw" / name).symlink_to(source)
    repository.write_params({"active": [experiment], "experiments": {experiment: short(experiment)}})
    (result,) = json.loads(repository.facets("rebuild", experiment, "--json").stdout)
    assert [stage["action"] for stage in result["stages"]] == ["ran"] * len(STAGES)
    counts = {table: count(repository, experiment, table) for table in ("images", "facet_0", "facet_1")}
    assert set(counts.values()) == {IMAGES[experiment]}
    labels = json.loads((repository.root / "artifacts" / experiment / "score" / "metrics.json").read_text())
    assert "digit" in json.dumps(labels)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[experiment] = {"rows": counts, "seconds": {stage["stage"]: stage["seconds"] for stage in result["stages"]}}
    results |= {"command": "make soak", "machine": describe_machine()}
    RESULTS.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")


def count(repository: Repository, experiment: str, table: str) -> int:
    statement = f"select count(distinct image_id) as n from {table}"
    ((row),) = json.loads(repository.facets("query", experiment, statement, "--json").stdout)
    return row["n"]
