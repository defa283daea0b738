"""Stages that DVC found fresh are known to be as long as nothing changes; whatever changes, DVC is asked again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core.layout import Layout
from pipeline.operations.locks import repository_lock
from pipeline.operations.repro import stale_stages
from tests.operations.damage import DAMAGES
from tests.repository import EXPERIMENT, Repository


@pytest.fixture(scope="module")
def known(template: Repository, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository whose stages DVC has found fresh."""
    repository = template.copy(tmp_path_factory.mktemp("known") / "repository")
    assert stale(repository) == {}
    return repository


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What DVC is asked; here it finds all stages fresh."""
    questions: list[object] = []

    def answer(_root: Path, arguments: object, _held: object) -> dict[str, object]:
        questions.append(arguments)
        return {}

    monkeypatch.setattr("pipeline.operations.known_status.query_dvc", answer)
    return questions


def stale(repository: Repository) -> dict[str, str]:
    with repository_lock(repository.root, "test") as held:
        return stale_stages(Layout(repository.root, EXPERIMENT), held)


def test_dvc_is_not_asked_again_while_nothing_changes(known: Repository, asked: list[object]) -> None:
    (known.root / "pipeline" / "model" / "__pycache__").mkdir(exist_ok=True)
    (known.root / "pipeline" / "model" / "__pycache__" / "dense.pyc").write_bytes(b"code")
    assert (stale(known), asked) == ({}, [])


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "an output edited": (lambda path: path.write_text("{}"), f"artifacts/{EXPERIMENT}/report/page.json"),
    "an output deleted": (Path.unlink, f"data/prepared/{EXPERIMENT}/test.h5"),
    "an input edited": (lambda path: path.write_text("image,facet,label\na,0,x\n"), f"hints/{EXPERIMENT}.csv"),
    "code edited": (lambda path: path.write_text("# other"), "pipeline/model/dense.py"),
    "code added": (lambda path: path.write_text("# more"), "pipeline/views/more.py"),
    "a parameter edited": (
        lambda path: path.write_text(path.read_text().replace("bootstrap: 20", "bootstrap: 21")),
        "params.yaml",
    ),
    "the memory emptied": (DAMAGES["empty"], f".work/{EXPERIMENT}/fresh.json"),
    "the memory cut short": (DAMAGES["half"], f".work/{EXPERIMENT}/fresh.json"),
    "the memory deleted": (DAMAGES["delete"], f".work/{EXPERIMENT}/fresh.json"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_of_any_change_dvc_is_asked_once(known: Repository, asked: list[object], change: str) -> None:
    apply, name = CHANGES[change]
    path = known.root / name
    before = path.read_bytes() if path.exists() else None
    stale(known)
    asked.clear()
    apply(path)
    stale(known)
    stale(known)
    assert len(asked) == 1
    path.unlink(missing_ok=True)
    if before is not None:
        path.write_bytes(before)


def test_stages_that_dvc_finds_stale_are_asked_about_every_time(repository: Repository) -> None:
    (repository.root / "pipeline" / "report" / "more.py").write_text("# more")
    for _ in range(2):
        assert stale(repository) == {"report": "input pipeline/report modified"}
