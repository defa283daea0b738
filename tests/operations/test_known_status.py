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
    assert ask(repository) == ({}, True)
    return repository


def ask(repository: Repository) -> tuple[dict[str, str], bool]:
    """Return which stages are stale, and whether DVC was asked."""
    log = repository.root / ".work" / "logs" / "dvc-status.log"
    log.unlink(missing_ok=True)
    with repository_lock(repository.root, "test") as held:
        stale = stale_stages(Layout(repository.root, EXPERIMENT), held)
    return stale, log.exists()


CHANGES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "an output edited": (lambda path: path.write_text("{}"), f"artifacts/{EXPERIMENT}/report/page.json", "report"),
    "an input deleted": (Path.unlink, f"data/prepared/{EXPERIMENT}/test.h5", "assign"),
    "code added": (lambda path: path.write_text("# more"), "pipeline/views/more.py", "train"),
}


def test_dvc_is_not_started_again_while_nothing_changes(known: Repository) -> None:
    assert ask(known) == ({}, False)
    (known.root / "pipeline" / "model" / "__pycache__").mkdir(exist_ok=True)
    (known.root / "pipeline" / "model" / "__pycache__" / "dense.pyc").write_bytes(b"code")
    assert ask(known) == ({}, False)


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_is_found_by_dvc(known: Repository, change: str) -> None:
    apply, name, stage = CHANGES[change]
    path = known.root / name
    before = path.read_bytes() if path.exists() else None
    assert ask(known)[0] == {}
    apply(path)
    stale, asked = ask(known)
    assert asked
    assert stage in stale
    path.unlink(missing_ok=True)
    if before is not None:
        path.write_bytes(before)


def test_a_parameter_that_changes_is_found_by_dvc(known: Repository) -> None:
    known.edit_params(lambda sections: sections["score"].update(bootstrap=21))
    assert ask(known)[0].keys() >= {"score"}
    known.edit_params(lambda sections: sections["score"].update(bootstrap=20))


@pytest.mark.parametrize("damage", ["empty", "half", "delete"])
def test_a_damaged_memory_counts_as_none(known: Repository, damage: str) -> None:
    assert ask(known)[0] == {}
    DAMAGES[damage](known.root / ".work" / EXPERIMENT / "fresh.json")
    assert ask(known) == ({}, True)
