"""The end of ``make test``."""

import subprocess
import sys
from pathlib import Path

from tests.repository import PROJECT

TESTS = """
import pytest

@pytest.fixture(scope="session")
def browser():
    pytest.skip("no browser: apt-get install chromium")

@pytest.mark.parametrize("i", range(3))
def test_page(browser, i):
    pass

@pytest.mark.skipif(True, reason="no device: buy one")
def test_device():
    pass

def test_that_runs():
    pass
"""


def test_it_says_what_was_skipped_and_how_to_have_it(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tests.not_run import pytest_terminal_summary\n")
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --disable-plugin-autoload\nmarkers = soak\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            tmp_path,
            "-p",
            "xdist",
            "-n",
            "2",
            "-m",
            "not soak",
            "-p",
            "no:cacheprovider",
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    said = done.stdout.partition(" not run ")[2].splitlines()
    assert said[1:4] == [
        "   3 skipped: no browser: apt-get install chromium",
        "   1 skipped: no device: buy one",
        "the long tests: make soak",
    ], done.stdout
    assert "1 passed, 4 skipped" in said[-1]
