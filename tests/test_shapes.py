"""Shapes that are written down are checked: in every room that has arrays."""

import re

import pytest

from tests.repository import PROJECT


def test_every_room_with_arrays_is_checked(pytestconfig: pytest.Config) -> None:
    with_arrays = {
        ".".join(path.relative_to(PROJECT).with_suffix("").parts[:2])
        for path in PROJECT.glob("pipeline/**/*.py")
        if re.search(r"^from jaxtyping import", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    checked = pytestconfig.getoption("jaxtyping_packages").split(",")[:-1]
    assert set(checked) == with_arrays
