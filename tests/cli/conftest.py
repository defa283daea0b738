"""The command line, in a copy of the repository with a published experiment."""

import pytest

from tests.cli.calling import Facets
from tests.repository import Repository


@pytest.fixture
def facets(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Facets:
    """Call the command line in the current folder."""
    return Facets(monkeypatch, capfd)


@pytest.fixture
def inside(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A copy of the repository with the published tiny experiment, as the current folder."""
    monkeypatch.chdir(repository.root)
    return repository


@pytest.fixture
def inside_template(template: Repository, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """The template itself as the current folder, for commands that only read."""
    monkeypatch.chdir(template.root)
    return template
