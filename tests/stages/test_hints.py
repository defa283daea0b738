"""Hints in a real repository: what runs when they change, what a model says of them."""

import pytest

from pipeline.core.storage import read_json
from pipeline.operations.dvc import query_dvc
from pipeline.operations.locks import repository_lock
from pipeline.tables import read
from tests.repository import EXPERIMENT, STAGES, Repository


@pytest.mark.no_shapes
def test_a_hint_runs_preprocess_and_what_follows_and_then_nothing(repository: Repository) -> None:
    root = repository.root
    told = repository.facets("hint", EXPERIMENT, "--facet", "1", "--from-labels", "shape", "--n", "8").stdout
    assert told.startswith("tiny: 24 hints written\n")
    assert "\nnext    facets rebuild tiny trains with them" in told
    result = repository.rebuild()
    actions = {stage["stage"]: stage["action"] for stage in result["stages"]}
    assert actions.pop("resolve") == "unchanged"
    assert set(actions.values()) == {"ran"}
    assert (result["version"], result["is_new"]) == (2, True)
    hints = read_json(root / "published" / EXPERIMENT / "models" / result["model_version"] / "model.json")["hints"]
    assert hints[0] == {"trained": 0, "kept_aside": 0}
    assert (hints[1]["trained"] + hints[1]["kept_aside"], hints[1]["kept_aside"] > 0) == (24, True)
    assert repository.stages_run() == []

    clusters = read(EXPERIMENT, "clusters", root=root)
    assert clusters.groupby("facet")["hinted"].unique().map(list).to_dict() == {0: [0], 1: [hints[1]["trained"]]}
    assert set(read(EXPERIMENT, "groups", root=root).query("facet == 1")["hinted"]) == {hints[1]["trained"]}
    sentence = f"It was told what it is about by hints on {hints[1]['trained']} images. Of "
    assert sentence in (root / "published" / EXPERIMENT / "report.html").read_text()
    assert f"  facet 1    {sentence}" in repository.facets("status").stdout

    assert repository.facets("hint", EXPERIMENT, "--undo").stdout.startswith("tiny: 24 hints taken back\n")
    result = repository.rebuild()
    assert {stage["stage"]: stage["action"] for stage in result["stages"]}["train"] == "restored"
    clusters = read(EXPERIMENT, "clusters", root=root)
    assert set(clusters["hinted"]) == {0}
    first = read(EXPERIMENT, "clusters", version=1, root=root)
    assert set(clusters["model_version"]) == set(first["model_version"])  # byte for byte what it was without hints


def test_hints_of_another_experiment_make_nothing_stale(repository: Repository) -> None:
    (repository.root / "hints" / "other.csv").write_text("image,facet,label\na,0,x\n")
    (repository.root / "hints" / "other_pairs.csv").write_text("image_a,image_b,facet,same\n")
    with repository_lock(repository.root, "test") as held:
        assert query_dvc(repository.root, ["status", "--json"], held) == {}
    (repository.root / "hints" / f"{EXPERIMENT}.csv").write_text("image,facet,label\na,0,x\n")
    with repository_lock(repository.root, "test") as held:
        assert set(query_dvc(repository.root, ["status", "--json"], held)) == {f"preprocess@{EXPERIMENT}"}
    assert "preprocess" in STAGES


def test_mistakes_in_hints_are_one_line_before_anything_runs(repository: Repository) -> None:
    (repository.root / "hints" / f"{EXPERIMENT}.csv").write_text("image,facet,label\na,7,x\nb,7,y\n")
    done = repository.facets("rebuild", EXPERIMENT, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "hints/tiny.csv, line 2: hints must be about a facet, 0 … 1, got 7; correct it" in done.stderr
