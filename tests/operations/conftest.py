"""The published tiny experiment, built once."""

import os
from pathlib import Path

import pytest

from tests.operations.tiny import Tiny, build_tiny


@pytest.fixture(scope="session")
def tiny_template(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The experiment as rebuilt and published; copy it, never change it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # of all workers: it is built once
    return build_tiny(shared / "tiny")


@pytest.fixture
def tiny(tiny_template: Tiny, tmp_path: Path) -> Tiny:
    """A copy of the experiment for one test."""
    return tiny_template.copy(tmp_path / "tiny")
