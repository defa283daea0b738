"""The state of an experiment is told to whoever may read it."""

import os

import pytest

from pipeline.config import load_params
from pipeline.operations.status import experiment_status
from tests.operations.tiny import EXPERIMENT, Tiny


def test_who_may_only_read_sees_what_is_published(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """No DVC is asked here, as there is none, and no lock is made: it would be written."""
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # whoever runs the tests may be allowed anything
    state = experiment_status(tiny.root, load_params(tiny.root), EXPERIMENT)
    assert state.stages == {}
    assert state.note == "not known, as DVC must be able to write in the repository to tell what is stale"
    assert state.published is not None
    assert state.published["n_images"] == 120
    assert not (tiny.root / ".work" / "locks" / "repository.lock").exists()
