"""Stricter than production: warnings are errors (pyproject), algorithms deterministic, one thread, nobody's home."""

import atexit
import gc
import os
from collections.abc import Iterator
from pathlib import Path

# Before numpy or torch is loaded. One thread, because tests run side by side and results depend on the number.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", CUBLAS_WORKSPACE_CONFIG=":4096:8")

import pytest
import torch
from jaxtyping import config

from tests import checking  # which jaxtyping looks up when the library is imported
from tests.not_run import pytest_terminal_summary as pytest_terminal_summary
from tests.repository import Repository, build_template

_CALLERS = ("cli", "flows", "stages")

gc.disable()  # until all tests are found: loading libraries and tests makes no garbage


@pytest.fixture(autouse=True, scope="session")
def _strict_numerics() -> None:
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms, the same, would import the compiler
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _private_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep every test away from the user's files, settings and network services."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("DVC_", "FACETS_", "PREFECT_", "XDG_", "GIT_"))]:
            patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("PREFECT_HOME", str(home / "prefect"))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "tests")
            patch.setenv(f"GIT_{role}_EMAIL", "tests@localhost")
        patch.setenv("DO_NOT_TRACK", "1")
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_disks() -> Iterator[None]:
    """Leave out fsync in the tests' own processes: it waits as long as all else, and no test can cut the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True)
def _shapes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check the shapes of each test anew, but not in tests that say so: that takes half as long again."""
    config.update("jaxtyping_disable", request.node.get_closest_marker("no_shapes") is not None)
    yield
    config.update("jaxtyping_disable", False)
    checking.begin()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A git and DVC repository with the tiny experiment rebuilt and published; copy it, never change it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # of all workers: it is built once
    return build_template(shared / "template")


@pytest.fixture
def repository(template: Repository, tmp_path: Path) -> Repository:
    """A copy of the template for one test."""
    return template.copy(tmp_path / "repository")


@pytest.fixture
def empty_repository(tmp_path: Path) -> Repository:
    """A repository with the tiny experiment, in which nothing has run yet."""
    return Repository.create(tmp_path / "repository")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure no coverage where hundreds of drawn examples go over lines that other tests cover.

    Where no coverage is wanted for another reason, the same calls are made elsewhere, and their shapes checked there.
    So are those of the rooms that only call others.
    """
    for item in items:
        if item.get_closest_marker("no_cover") or item.path.parent.name in _CALLERS:
            item.add_marker(pytest.mark.no_shapes)
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.no_cover)


def pytest_collection_finish() -> None:
    """Collect garbage from here on, but do not look at what was loaded before the process ends."""
    gc.freeze()
    gc.enable()
    atexit.register(gc.unfreeze)  # libraries that count their objects would call them leaked
