"""What re-runs when something changes, with real DVC and a real model."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.resolved import write_resolved
from pipeline.core.layout import Layout
from pipeline.operations.dvc import query_dvc
from pipeline.operations.locks import repository_lock
from tests.repository import EXPERIMENT, STAGES, Repository, write_images

Change = Callable[[dict[str, Any]], None]


def put(section: str, key: str, value: Any) -> Change:
    return lambda sections: sections[section].update({key: value})


READ_BY: list[tuple[str, Change, set[str]]] = [
    ("seeds", lambda sections: sections.update(seeds=[2]), {"init_mog", "train", "report"}),
    ("preprocess", put("preprocess", "split_seed", 1), {"preprocess"}),
    ("model", put("model", "sigma", 0.2), {"init_mog", "train"}),
    ("init_mog", put("init_mog", "max_iter", 21), {"init_mog"}),
    ("train", put("train", "learning_rate", 1.0e-4), {"train"}),
    ("score", put("score", "bootstrap", 21), {"score"}),
    ("assign", put("assign", "batch_size", 64), {"assign"}),
    ("report", put("report", "examples", 5), {"report"}),
    ("publish", put("publish", "keep_versions", 3), set()),
]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def model_digests(repository: Repository) -> dict[str, str]:
    folder = repository.root / "artifacts" / EXPERIMENT / "model"
    return {path.name: digest(path) for path in sorted(folder.iterdir())}


def test_a_parameter_makes_exactly_the_stages_stale_that_read_its_section(repository: Repository) -> None:
    """All sections are changed at once: of each stage DVC names those that it reads."""
    for _, change, _ in READ_BY:
        repository.edit_params(change)
    write_resolved(Layout(repository.root, EXPERIMENT))
    with repository_lock(repository.root, "test") as held:
        status = query_dvc(repository.root, ["status", "--json"], held)
    assert set(status) == {f"{stage}@{EXPERIMENT}" for stage in STAGES}
    resolved = f"artifacts/{EXPERIMENT}/params.json"
    assert status.pop(f"resolve@{EXPERIMENT}") == [
        {"changed deps": {"params.yaml": {f"experiments.{EXPERIMENT}": "modified"}}},
        {"changed outs": {resolved: "modified"}},
    ]
    for name, (change,) in status.items():
        read = {section: "modified" for section, _, by in READ_BY if name.removesuffix(f"@{EXPERIMENT}") in by}
        assert change == {"changed deps": {resolved: read}}, name


def leave_bootstrap_to_the_preset(sections: dict[str, Any]) -> None:
    sections["preset"] = "standard"
    del sections["score"]["bootstrap"]


def test_a_preset_of_another_release_makes_exactly_the_stages_stale_that_read_what_it_changes(
    repository: Repository,
) -> None:
    repository.edit_params(leave_bootstrap_to_the_preset)
    preset = repository.root / "pipeline" / "config" / "presets" / "standard.yaml"
    for bootstrap, ran in ((20, ["resolve"]), (21, ["resolve", "score"])):  # 20, as it was, and another one
        preset.write_text(re.sub(r"(bootstrap): \d+", rf"\1: {bootstrap}", preset.read_text()))
        assert repository.stages_run() == ran


def test_a_label_correction_runs_score_and_what_shows_it_and_then_nothing(repository: Repository) -> None:
    before = model_digests(repository)
    metrics = repository.root / "artifacts" / EXPERIMENT / "score" / "metrics.json"
    old = metrics.read_text()
    write_images(repository.root / "data" / "own", corrections={0: 2, 1: 2, 4: 0})
    result = repository.rebuild()
    ran = {stage["stage"] for stage in result["stages"] if stage["action"] == "ran"}
    assert ran == {"preprocess", "score", "report"}  # the page counts label values
    assert model_digests(repository) == before
    assert metrics.read_text() != old
    assert result["version"] == 1
    staged = repository.root / "published" / EXPERIMENT / "models" / result["model_version"] / "score" / "metrics.json"
    assert staged.read_text() == metrics.read_text()
    assert repository.stages_run() == []
    assert "dvc.lock" in repository.run("git", "status", "--porcelain").stdout  # changed, and committed by nobody


AFTER_INIT = set(STAGES) - {"resolve", "preprocess"}

CODE: list[tuple[str, set[str]]] = [
    ("pipeline/cli/query.py", set()),
    ("pipeline/core/text.py", set()),
    ("pipeline/tables/sql.py", set()),
    ("pipeline/monitoring/gate.py", set()),
    ("pipeline/page/compose.py", set()),
    ("pipeline/datasets/delivery/sieve.py", set()),
    ("pipeline/onboarding/propose.py", set()),
    ("pipeline/config/resolve.py", {"resolve"}),
    ("pipeline/datasets/readers/own_labels.py", {"preprocess"}),
    ("pipeline/datasets/decoding/decode.py", {"preprocess"}),
    ("pipeline/datasets/prepare/splits.py", {"preprocess"}),
    ("pipeline/datasets/store/images.py", set(STAGES) - {"resolve"}),
    ("pipeline/kernels/dense.py", AFTER_INIT),
    ("pipeline/model/elbo.py", AFTER_INIT),
    ("pipeline/mixture/fit.py", {"init_mog", "train"}),
    ("pipeline/training/step.py", {"init_mog", "train"}),
    ("pipeline/groups/tree.py", {"init_mog", "train"}),
    ("pipeline/views/affine.py", {"init_mog", "train"}),
    ("pipeline/core/groups.py", AFTER_INIT),
    ("pipeline/core/hints.py", {"init_mog", "train"}),
    ("pipeline/core/contingency.py", {"init_mog", "train", "score"}),
    ("pipeline/evaluation/score.py", {"score"}),
    ("pipeline/assignment/assign.py", {"assign"}),
    ("pipeline/table_format/writer.py", {"assign"}),
    ("pipeline/report/build.py", {"report"}),
]
"""The list of CONTRIBUTING.md, file by file."""


def test_a_change_of_code_makes_exactly_the_stages_stale_that_use_it(repository: Repository) -> None:
    """All files are changed at once: of each stage DVC names the parts of the library that it is stale for."""
    for path, _ in CODE:
        repository.append(path, "\n# a remark that changes nothing\n")
    with repository_lock(repository.root, "test") as held:
        status = query_dvc(repository.root, ["status", "--json"], held)
    for stage in STAGES:
        (change,) = status[f"{stage}@{EXPERIMENT}"]
        parts = set(change["changed deps"])
        of_stage = {path for path, stages in CODE if stage in stages}
        assert {path for path, _ in CODE if any(path.startswith(part) for part in parts)} == of_stage, stage
        assert all(any(path.startswith(part) for path in of_stage) for part in parts), stage


@pytest.mark.soak
def test_a_change_of_the_model_code_runs_init_mog_and_what_follows(repository: Repository) -> None:
    before = model_digests(repository)
    repository.append("pipeline/model/elbo.py", "\n# a remark that changes nothing\n")
    result = repository.rebuild()
    actions = {stage["stage"]: stage["action"] for stage in result["stages"]}
    assert (actions.pop("resolve"), actions.pop("preprocess")) == ("unchanged", "unchanged")
    assert set(actions.values()) == {"ran"}
    assert result["stages"][2]["reason"] == "input pipeline/model modified"
    assert model_digests(repository) == before
    assert result["is_new"] is False


@pytest.mark.parametrize("name", ["metrics", "plots"])
def test_dvc_shows_metrics_and_plots(template: Repository, tmp_path: Path, name: str) -> None:
    out = ("--out", str(tmp_path / "plots")) if name == "plots" else ()
    cache = str(tmp_path / "site-cache")
    shown = template.run(str(template.root / ".venv/bin/dvc"), name, "show", "--json", *out, DVC_SITE_CACHE_DIR=cache)
    assert f"artifacts/{EXPERIMENT}/" in shown.stdout
    assert '"error"' not in shown.stdout
