"""How many processors there are, where the system tells what a process may use and where it does not, as on macOS."""

import os

import pytest

from pipeline.core.processors import n_processors


def test_those_allowed_count_and_elsewhere_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2}, raising=False)
    assert n_processors() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert n_processors() == 8
