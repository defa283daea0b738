"""One Prefect server for all flow tests; no other test starts one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operations.tiny import Tiny, build_tiny


@pytest.fixture(scope="session")
def tiny_template(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The published experiment; copy it, never change it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    return build_tiny(shared / "tiny")


@pytest.fixture(autouse=True, scope="session")
def _server() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.setenv("PREFECT_RESULTS_PERSIST_BY_DEFAULT", "false")
        from prefect.testing.utilities import prefect_test_harness

        # Seconds on a quiet machine; the first start also creates the database.
        with prefect_test_harness(server_startup_timeout=270):
            yield


@pytest.fixture
def tiny(tiny_template: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """A copy of the experiment that flows work on."""
    copy = tiny_template.copy(tmp_path / "tiny")
    monkeypatch.setenv("FACETS_ROOT", str(copy.root))
    return copy
