"""A first training that collapses: one quick seed, another setting in ``params.yaml``, and a refusal that helps."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config import load_params
from pipeline.config.sections import Experiment
from pipeline.core.errors import ModelError
from pipeline.core.layout import Layout
from pipeline.onboarding.settings import Setting
from pipeline.onboarding.trial import Trial
from pipeline.operations import retry
from pipeline.operations.rebuild import _open_retry, rebuild
from pipeline.operations.retry import Retry
from tests.repository import EXPERIMENT, Repository

COLLAPSED = "facet 0 collapsed: no latent dimension varies with the image"


@pytest.fixture
def unpublished(repository: Repository) -> Repository:
    """The tiny experiment, prepared and trained, with nothing in service."""
    shutil.rmtree(repository.root / "published")
    (repository.root / "data" / "history" / f"{EXPERIMENT}.json").unlink()
    return repository


def judge(monkeypatch: pytest.MonkeyPatch, trains: Callable[[Setting], bool]) -> list[str]:
    """Put a verdict in place of each trial; return the labels of those that were made."""
    made: list[str] = []

    def judged(setting: Setting, label: str, *_: object) -> Trial:
        made.append(label)
        return Trial(setting, label, () if trains(setting) else (COLLAPSED,), 1, (), 1.0, 0.01)

    monkeypatch.setattr(retry, "run_trial", judged)
    return made


def parameters(root: Path) -> Experiment:
    return load_params(root).experiment(EXPERIMENT)


def test_a_setting_that_trains_is_left_alone_and_not_tried_again(unpublished, monkeypatch):
    root, layout = unpublished.root, Layout(unpublished.root, EXPERIMENT)
    made = judge(monkeypatch, lambda _: True)
    before = (root / "params.yaml").read_bytes()
    found = Retry(layout, 60.0, None).check_first(parameters(root))
    assert found == parameters(root)
    assert (root / "params.yaml").read_bytes() == before
    assert made == ["as it stands in params.yaml"]
    assert Retry(layout, 1.0, None).known_seconds(parameters(root)) is not None
    unpublished.edit_params(lambda sections: sections["model"].update(sigma=0.2))
    assert Retry(layout, 1.0, None).known_seconds(parameters(root)) is None


def test_the_first_setting_that_trains_is_written_and_said(unpublished, monkeypatch):
    root, layout = unpublished.root, Layout(unpublished.root, EXPERIMENT)
    made = judge(monkeypatch, lambda setting: setting.model.latent_dims == (10, 1))
    lines: list[str] = []
    attempt = Retry(layout, 60.0, lines.append)
    found = attempt.check_first(parameters(root))
    assert found == parameters(root)
    assert found.model.latent_dims == (10, 1)
    assert made == ["as it stands in params.yaml", "a deep facet of one dimension"]
    (change,) = map(str, attempt.changes)
    assert change == "tiny.model.latent_dims: [2, 2] → [10, 1] (with more dimensions the deep facet took everything)"
    assert f"changed in params.yaml: {change}" in lines
    attempt.announce(found)
    # 12 epochs of 8 steps at 0.01 s, three seeds at once or one after the other, and the other stages
    assert re.fullmatch(r"tiny: this will take about (4|5)\d seconds, as trials went", lines[-1])


def test_where_nothing_trains_the_refusal_names_the_line(unpublished, monkeypatch):
    root, layout = unpublished.root, Layout(unpublished.root, EXPERIMENT)
    made = judge(monkeypatch, lambda _: False)
    before = (root / "params.yaml").read_bytes()
    with pytest.raises(ModelError) as caught:
        Retry(layout, 60.0, None).check_first(parameters(root))
    number = next(n for n, line in enumerate(before.decode().splitlines(), 1) if "latent_dims" in line)
    assert f"tiny must train, but {COLLAPSED}. Tried besides: " in str(caught.value)
    assert f"experiments.tiny.model.latent_dims (line {number} of params.yaml, now [2, 2])" in str(caught.value)
    assert made[-2:] == ["one facet", "one facet of one dimension"]
    assert (root / "params.yaml").read_bytes() == before


def test_of_directions_the_refusal_advises_other_numbers_of_clusters(unpublished, monkeypatch):
    """What its facets read they learn from rows, whatever their latents."""
    judge(monkeypatch, lambda _: False)
    directions = {"family": "residual", "likelihood": "standardised", "output": "linear", "hidden": [[8], [8]]}
    unpublished.edit_params(lambda sections: sections["model"].update(directions))
    before = (unpublished.root / "params.yaml").read_text()
    number = next(n for n, line in enumerate(before.splitlines(), 1) if "n_components" in line)
    with pytest.raises(ModelError) as caught:
        Retry(Layout(unpublished.root, EXPERIMENT), 60.0, None).check_first(parameters(unpublished.root))
    assert f"Change experiments.tiny.model.n_components (line {number} of params.yaml, now " in str(caught.value)


def test_trials_end_with_the_budget(unpublished, monkeypatch):
    made = judge(monkeypatch, lambda _: False)
    with pytest.raises(ModelError, match=r"Tried besides: as it stands"):
        Retry(Layout(unpublished.root, EXPERIMENT), 0.5, None).check_first(parameters(unpublished.root))
    assert made == ["as it stands in params.yaml"]


def test_trainings_between_trials_take_nothing_of_their_budget(unpublished, monkeypatch):
    judge(monkeypatch, lambda setting: setting.model.latent_dims == (10, 1))
    attempt = Retry(Layout(unpublished.root, EXPERIMENT), 1.0, None)
    time.sleep(1.5)  # a training that collapses
    assert attempt.change(parameters(unpublished.root), COLLAPSED).model.latent_dims == (10, 1)


def test_nothing_is_changed_under_readers_or_in_shipped_experiments(repository):
    layout = Layout(repository.root, EXPERIMENT)
    assert _open_retry(layout, parameters(repository.root), 60.0, None) is None  # it is published
    shutil.rmtree(repository.root / "published")
    assert _open_retry(layout, parameters(repository.root), 60.0, None) is not None
    assert _open_retry(layout, parameters(repository.root), 0.0, None) is None
    shipped = load_params(Path(__file__).parents[2]).experiment("digits_ladder")
    assert _open_retry(Layout(repository.root, "digits"), shipped, 60.0, None) is None


@pytest.mark.soak
def test_a_rebuild_goes_on_with_the_setting_that_trains(unpublished, monkeypatch):
    """The stages are real, the verdict of the trial is not: a training this small never collapses for certain."""
    root = unpublished.root
    judge(monkeypatch, lambda setting: setting.model.latent_dims == (10, 1))
    result = rebuild(root, EXPERIMENT, retry_seconds=60.0)
    assert result.is_new
    assert [change.partition(" (")[0] for change in result.changes] == ["tiny.model.latent_dims: [2, 2] → [10, 1]"]
    assert {run.stage for run in result.stages if run.action == "ran"} >= {"init_mog", "train", "assign"}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"trained": 1}', "null"])
def test_a_damaged_memory_of_a_trial_is_none(repository, text):
    layout, experiment = Layout(repository.root, EXPERIMENT), parameters(repository.root)
    retry.remember(layout, experiment, 60.0)
    attempt = Retry(layout, 1.0, None)
    assert attempt.known_seconds(experiment) == 60.0
    kept = repository.root / ".work" / EXPERIMENT / "trial.json"
    for damaged in (text, kept.read_text().replace("60.0", '"soon"')):
        kept.write_text(damaged)
        assert attempt.known_seconds(experiment) is None


def test_a_rebuild_that_tries_nothing_loads_no_torch() -> None:
    """The service's flows and every ``facets rebuild`` of what is up to date would take seconds longer."""
    script = "import sys, pipeline.operations.rebuild; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
