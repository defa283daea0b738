"""The installed command where Python finds another library, or none, and what make does about it."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.repository import PROJECT

SCRIPT = PROJECT / "bin" / "facets"


def run(python: Path | str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as an environment's python does."""
    command = [str(python), str(SCRIPT), "--help"]
    return subprocess.run(
        command, cwd="/", env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """The python of an environment that was made for a repository elsewhere."""
    name = "pipeline/cli/_app.py"
    (tmp_path / "r" / name).parent.mkdir(parents=True)
    shutil.copy(PROJECT / name, tmp_path / "r" / name)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "r" / ".venv"], check=True)
    return tmp_path / "r" / ".venv" / "bin" / "python"


def test_the_environment_runs_the_library_beside_it() -> None:
    done = run(sys.executable)
    assert (done.returncode, done.stderr) == (0, "")
    installed = Path(sysconfig.get_path("scripts"), "facets").read_text()
    assert SCRIPT.read_text().partition("\n")[2] in installed


@pytest.mark.parametrize("name", ["pipeline.py", "pipeline/__init__.py"])
def test_something_else_of_the_same_name_is_one_line(tmp_path: Path, name: str) -> None:
    other = tmp_path / name
    other.parent.mkdir(exist_ok=True)
    other.write_text("raise AssertionError\n")
    done = run(sys.executable, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (7, "")
    assert done.stderr.startswith("facets: Python must find the library that facets was installed with, but finds ")
    assert f"finds {other}; take it out of PYTHONPATH or" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_moved_environment_says_what_to_do(moved: Path) -> None:
    done = run(moved)
    assert (done.returncode, done.stdout) == (7, "")
    assert "but finds no pipeline; take it out of PYTHONPATH or, if the repository was moved" in done.stderr
    assert f"run `make repro` in {moved.parents[2]}\n" in done.stderr


def test_a_copied_environment_does_not_run_the_library_of_the_original(moved: Path) -> None:
    packages = next((moved.parents[1] / "lib").glob("python*/site-packages"))
    (packages / "original.pth").write_text(f"{PROJECT}\n")
    done = run(moved)
    assert (done.returncode, done.stdout) == (7, "")
    assert f"but finds {PROJECT / 'pipeline' / '__init__.py'}; " in done.stderr


def test_make_notices_that_the_repository_was_moved(tmp_path: Path) -> None:
    make = ["make", "--dry-run", ".venv/.ready"]
    (tmp_path / "r" / ".venv").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(PROJECT / name, tmp_path / "r" / name)
    (tmp_path / "r" / ".venv" / ".ready").write_text(f"{tmp_path / 'r'}\n")
    here = subprocess.run(make, cwd=tmp_path / "r", capture_output=True, text=True, check=True)
    assert "--editable ." not in here.stdout
    (tmp_path / "r").rename(tmp_path / "moved")
    there = subprocess.run(make, cwd=tmp_path / "moved", capture_output=True, text=True, check=True)
    assert "--editable ." in there.stdout
