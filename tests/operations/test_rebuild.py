"""Rebuilding a real repository: what is refused before anything starts, two at once, errors of stages."""

import json
import re
import subprocess
import time

import psutil
import pytest

from pipeline.core.errors import BusyError, ConfigError, DataError, ModelError, PublishError, ResourceError
from pipeline.core.storage import read_json
from pipeline.operations.locks import repository_lock
from pipeline.operations.rebuild import rebuild
from pipeline.tables import History
from tests.repository import EXPERIMENT, STAGES, Repository


def published_version(repository: Repository) -> int:
    current = History(repository.root / "published" / EXPERIMENT).current()
    assert current is not None
    return current.version


def test_nothing_to_do_starts_no_stage_and_changes_no_file(repository: Repository) -> None:
    rebuild(repository.root, EXPERIMENT)  # hashes the copied files once
    watched = ("artifacts", "data", "published", "dvc.lock")
    before = repository.run("find", *watched, "-type", "f", "-newermt", "now").stdout
    stamp = time.time()
    lines: list[str] = []
    result = rebuild(repository.root, EXPERIMENT, on_line=lines.append)
    assert {stage.action for stage in result.stages} == {"unchanged"}
    assert (result.version, result.is_new, lines, before) == (1, False, [], "")
    changed = repository.run("find", *watched, "-type", "f", "-newermt", f"@{stamp}").stdout.split()
    assert changed == []


def test_an_experiment_must_be_known_and_active(repository: Repository) -> None:
    with pytest.raises(ConfigError, match=r"experiment 'tinny' is unknown; params\.yaml has tiny"):
        rebuild(repository.root, "tinny")
    text = (repository.root / "params.yaml").read_text()
    (repository.root / "params.yaml").write_text(text.replace("  tiny:", "  other: &copy\n   <<: {}\n  tiny:", 1))
    with pytest.raises(ConfigError, match=r"experiments\.other\.seeds is missing"):
        rebuild(repository.root, EXPERIMENT)
    (repository.root / "params.yaml").write_text(
        text.replace("experiments:\n  tiny:", "experiments:\n  tiny: &all", 1) + "  other: *all\n"
    )
    with pytest.raises(ConfigError, match=r"only an active experiment is rebuilt, got 'other'; add it .* \(now tiny\)"):
        rebuild(repository.root, "other")


def test_a_wrong_parameter_fails_at_once_in_one_line(repository: Repository) -> None:
    repository.edit_params(lambda sections: sections["train"].update(batch_size=-1))
    asked = (repository.root / ".work" / "logs" / "dvc-status.log").stat().st_mtime_ns
    before = psutil.Process().cpu_times()
    done = repository.facets("rebuild", check=False)
    after = psutil.Process().cpu_times()
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "facets: experiments.tiny.train.batch_size must lie in [1, inf), got -1\n"
    assert after.children_user - before.children_user < 5
    assert (repository.root / ".work" / "logs" / "dvc-status.log").stat().st_mtime_ns == asked


def test_without_git_or_dvc_one_line_says_what_to_do(repository: Repository) -> None:
    repository.run("mv", ".dvc", "elsewhere")
    with pytest.raises(ResourceError, match=r"must be a DVC repository, but has no folder \.dvc"):
        rebuild(repository.root, EXPERIMENT)
    repository.run("rm", "-rf", ".git")
    with pytest.raises(ResourceError, match=r"must lie in a git repository, but does not"):
        rebuild(repository.root, EXPERIMENT)


def test_while_another_process_uses_dvc_its_name_is_the_answer(repository: Repository) -> None:
    with repository_lock(repository.root, "tidy tiny"), pytest.raises(BusyError, match=r"pid \d+ \(tidy tiny\)"):
        rebuild(repository.root, EXPERIMENT)


def test_of_two_rebuilds_at_once_the_second_waits_and_what_the_first_has_made_comes_back_from_the_cache(
    repository: Repository,
) -> None:
    original = (repository.root / "params.yaml").read_text()
    repository.edit_params(lambda sections: sections["assign"].update(batch_size=512))
    command = [*repository.facets_command, "rebuild", EXPERIMENT, "--json"]
    both = [
        subprocess.Popen(command, cwd=repository.root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(2)
    ]
    results = [json.loads(process.communicate()[0])[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    stages = [stage for result in results for stage in result["stages"]]
    assert sorted(stage["action"] for stage in stages if stage["stage"] == "assign") == ["ran", "unchanged"]
    assert {stage["action"] for stage in stages if stage["stage"] not in ("resolve", "assign")} == {"unchanged"}
    check_log(repository)

    (repository.root / "params.yaml").write_text(original)
    result = rebuild(repository.root, EXPERIMENT)
    assert [stage.stage for stage in result.stages if stage.action == "restored"] == ["assign"]
    assert [stage.stage for stage in result.stages if stage.action == "ran"] == ["resolve"]


def check_log(repository: Repository) -> None:
    """Find one run of stage assign, with its reason, among the runs that were logged."""
    entries = [
        json.loads(line) for line in (repository.root / ".work" / "logs" / "runs.jsonl").read_text().splitlines()
    ]
    assert {entry["operation"] for entry in entries} == {"rebuild"}
    assert entries[-1]["commit"] == repository.run("git", "rev-parse", "HEAD").stdout.strip()
    ran = [[stage for stage in entry["stages"] if stage["action"] == "ran"] for entry in entries]
    _, assign = [stages for stages in ran if stages][-1]  # before it, the rebuild that made the template
    assert assign["reason"] == "parameter assign modified"
    assert assign["seconds"] > 0


def test_a_stage_that_refuses_passes_on_its_message_and_the_tables_stay(repository: Repository) -> None:
    repository.edit_params(lambda sections: sections["model"].update(n_components=[4, 500]))
    done = repository.facets("rebuild", check=False)
    assert done.returncode == ModelError.exit_code
    message = done.stderr.splitlines()[-1]
    assert message.startswith("facets: init_mog@tiny: ")
    assert "500" in message
    assert "Traceback" not in done.stderr
    assert published_version(repository) == 1


def test_a_missing_source_is_told_before_dvc_starts(repository: Repository) -> None:
    (repository.root / "data" / "own" / "images.npz").unlink()
    with pytest.raises(DataError, match=r"images\.npz"):
        rebuild(repository.root, EXPERIMENT)


def test_a_change_of_the_model_code_gives_another_model_and_an_unhealthy_one_is_not_published(
    repository: Repository,
) -> None:
    repository.append("pipeline/model/covariance.py", "\nBETA = 9.0\n")
    repository.edit_params(lambda sections: sections["publish"]["gate"].update(min_confidence=1.0))
    before = read_json(repository.root / "artifacts" / EXPERIMENT / "model" / "model.json")["model_version"]
    done = repository.facets("rebuild", EXPERIMENT, check=False)
    assert done.returncode == PublishError.exit_code, done.stderr
    message = " ".join(done.stderr.splitlines()[-1:])
    assert re.search(r"mean confidence must be at least 1\.0 .*version 1 stays in service", message)
    ran = re.findall(rf"Running stage '(\w+)@{EXPERIMENT}'", done.stderr)
    assert sorted(ran) == sorted(set(STAGES) - {"preprocess"})
    after = read_json(repository.root / "artifacts" / EXPERIMENT / "model" / "model.json")["model_version"]
    assert after != before
    assert published_version(repository) == 1


@pytest.mark.parametrize(
    "stage",
    [
        "train",
        *(pytest.param(name, marks=pytest.mark.soak) for name in STAGES if name != "train"),
    ],
)
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(repository: Repository, stage: str) -> None:
    """A limit on the size of files stands for the full disk: writing beyond it fails in the same way."""
    outputs = {
        "preprocess": f"data/prepared/{EXPERIMENT}",
        "init_mog": f"artifacts/{EXPERIMENT}/init",
        "train": f"artifacts/{EXPERIMENT}/model",
        "score": f"artifacts/{EXPERIMENT}/score",
        "assign": f"artifacts/{EXPERIMENT}/assignments",
        "report": f"artifacts/{EXPERIMENT}/report",
    }
    output = repository.root / outputs[stage]
    repository.run("rm", "-rf", str(output), ".work")
    # Measuring coverage writes files too.
    command = (
        f"unset COVERAGE_PROCESS_CONFIG; ulimit -f 1; exec .venv/bin/python -m pipeline.stages.{stage} {EXPERIMENT}"
    )
    done = repository.run("sh", "-c", command, check=False)
    assert done.returncode == ResourceError.exit_code, done.stderr
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr
    assert not output.exists() or not list(output.iterdir())
    assert not list(output.parent.glob(".*.tmp"))
    assert repository.rebuild()["version"] == 1


def test_an_output_folder_that_cannot_be_written_is_one_line(repository: Repository) -> None:
    repository.run("rm", "-rf", "artifacts")
    (repository.root / "artifacts").write_text("a file in the way\n")
    done = repository.run(".venv/bin/python", "-m", "pipeline.stages.resolve", EXPERIMENT, check=False)
    assert done.returncode == ResourceError.exit_code
    assert done.stderr.splitlines()[-1].startswith("resolve: ")
    assert "must be writable, but: Not a directory" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("a", "b"), ("--help",)])
def test_a_stage_wants_one_experiment(repository: Repository, arguments: tuple[str, ...]) -> None:
    done = repository.run(".venv/bin/python", "-m", "pipeline.stages.preprocess", *arguments, check=False)
    assert done.returncode == ConfigError.exit_code
    assert "run python -m pipeline.stages.preprocess EXPERIMENT" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_lists_below_the_root_are_found_from_a_folder_inside(repository: Repository) -> None:
    inside = Repository(repository.root / "data" / "own")
    python = str(repository.root / ".venv" / "bin" / "python")
    script = f"import sys; sys.path.insert(0, {str(repository.root)!r}); from pipeline.cli import main; main()"
    done = inside.run(python, "-c", script, "query", EXPERIMENT, "select count(*) as n from images", "--json")
    assert json.loads(done.stdout) == [{"n": 120}]
