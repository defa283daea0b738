"""From the wheel alone, in an empty folder: a project, an experiment, tables; without git and make, and with git."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from benchmarks.machine import describe_machine
from pipeline.config.safe_yaml import safe_load
from pipeline.core.storage import disk_usage
from tests.installed import Installed
from tests.repository import PROJECT, tiny_experiment, write_images

pytestmark = pytest.mark.xdist_group("installed")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed.create(tmp_path_factory.mktemp("installed"))


@pytest.fixture(scope="module")
def project(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_project(installed, tmp_path_factory.mktemp("empty"))


def build_project(installed: Installed, folder: Path) -> Path:
    """Do what the first screen of the README says, on a machine without git and make; return the project."""
    folder.mkdir(exist_ok=True)
    write_pictures(folder / "pictures")
    facets(installed, folder, "init", "shop")
    root = folder / "shop"
    facets(installed, root, "new", "birds", "../pictures", "--no-trial")
    make_tiny(root, "birds")
    facets(installed, root, "rebuild", "birds", "--retry-minutes", "0")
    return root


def facets(installed: Installed, folder: Path, *arguments: str, code: int = 0, path: str = "") -> str:
    done = installed.run(folder, "facets", *arguments, path=path)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def write_pictures(folder: Path) -> None:
    write_images(folder)
    for i, pixels in enumerate(np.load(folder / "images.npz")["images"]):
        Image.fromarray(pixels).save(folder / f"{i}.png")
    (folder / "images.npz").unlink()


def make_tiny(root: Path, name: str) -> None:
    """Have an experiment train in a moment; of its own it keeps where its images are and how they become pixels."""
    params = safe_load((root / "params.yaml").read_text())
    params["active"] = [name]
    params["experiments"][name] |= {key: value for key, value in tiny_experiment().items() if key != "preprocess"}
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def stages(output: str) -> list[str]:
    (result,) = json.loads(output[output.index("[{") :].partition("\n")[0])
    return [stage["stage"] for stage in result["stages"] if stage["action"] == "ran"]


def test_a_project_without_git_and_make_has_tables_and_page(installed: Installed, project: Path) -> None:
    rows = json.loads(facets(installed, project, "query", "birds", "select count(*) as n from facet_1", "--json"))
    assert rows == [{"n": 120}]
    assert (project / "published" / "birds" / "report.html").stat().st_size > 10_000
    assert not (project / ".git").exists()
    assert "birds: version 1" in facets(installed, project, "status", "birds")
    found = {path.name for path in project.iterdir()} - {"artifacts", "data", "published", "ask", ".work"}
    assert found == {
        *(".dvc", ".dvcignore", ".github", ".gitignore", "README.md"),
        *("dvc.lock", "dvc.yaml", "hints", "params.yaml", "stages"),
    }


def test_nothing_of_the_machine_is_noted_for_dvc(installed: Installed, project: Path) -> None:
    for name in ("dvc.yaml", "dvc.lock", "stages/run", "stages/code.json"):
        text = (project / name).read_text()
        assert str(installed.prefix) not in text
        assert "site-packages" not in text


def test_stages_run_again_when_and_only_when_the_library_changes_what_they_use(
    installed: Installed, project: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(project, tmp_path / "shop"))
    assert stages(facets(installed, root, "rebuild", "birds", "--json")) == []
    (library,) = installed.prefix.glob("lib/python*/site-packages/pipeline")
    changed = {name: (library / name).read_text() for name in ("cli/query.py", "assignment/assign.py")}
    try:
        for name, text in changed.items():
            (library / name).write_text(f"{text}\n# another release\n")
        by_hand = installed.run(root, "python", "-m", "pipeline.stages.assign", "birds")
        assert (by_hand.returncode, by_hand.stderr) == (
            2,
            "assign: stages/code.json must be of the installed release, but is of another; run facets rebuild\n",
        )
        assert "  assign     stale: code of the library modified" in facets(installed, root, "status", "birds")
        assert stages(facets(installed, root, "rebuild", "birds", "--json")) == ["assign"]
    finally:
        for name, text in changed.items():
            (library / name).write_text(text)


def test_a_release_with_another_dag_is_brought_in_by_upgrade(
    installed: Installed, project: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(project, tmp_path / "shop"))
    whole = (root / "dvc.yaml").read_text()
    (root / "dvc.yaml").write_text(whole.replace("desc: the slow, pure part of the page", "desc: a page"))
    (root / "stages/code.json").write_text(json.dumps({"dvc.yaml": "0123"}))
    said = facets(installed, root, "rebuild", "birds", code=2)
    assert f"{root / 'dvc.yaml'} must be of the installed release, but is of another; run facets upgrade" in said
    shown = facets(installed, root, "upgrade")
    assert "\n-    desc: a page\n+    desc: the slow, pure part of the page\n" in shown
    assert (root / "dvc.yaml").read_text() != whole
    facets(installed, root, "upgrade", "--yes")
    assert (root / "dvc.yaml").read_text() == whole
    assert "all files are as this release writes them" in facets(installed, root, "upgrade")
    assert stages(facets(installed, root, "rebuild", "birds", "--json")) == []


@pytest.mark.skipif(shutil.which("ps") is None, reason="no ps: apt-get install procps")
def test_stages_run_by_the_python_that_runs_dvc_whatever_is_on_the_path(
    installed: Installed, project: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(project, tmp_path / "shop"))
    (tmp_path / "bin").mkdir()
    for name in ("python", "python3"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\necho another python >&2\nexit 1\n")
        (tmp_path / "bin" / name).chmod(0o755)
    shutil.rmtree(root / "artifacts" / "birds" / "assignments")
    shutil.rmtree(root / ".dvc" / "cache")
    path = os.pathsep.join([str(tmp_path / "bin"), str(installed.path)])
    done = installed.run(root, "dvc", "repro", "--single-item", "--force", "assign@birds", path=path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (root / "artifacts" / "birds" / "assignments").is_dir()


def test_with_git_the_project_is_a_repository(installed: Installed, tmp_path: Path) -> None:
    path = os.pathsep.join([str(installed.path), str(Path(str(shutil.which("git"))).parent)])
    said = facets(installed, tmp_path, "init", "shop", path=path)
    assert "next    cd shop && facets new birds" in said
    root = tmp_path / "shop"
    assert (root / ".git").is_dir()
    assert "no_scm" not in (root / ".dvc" / "config").read_text()
    assert safe_load((root / "params.yaml").read_text())["active"] == ["digits"]
    assert "digits: nothing is published yet" in facets(installed, root, "status", path=path)
    assert "the program git is needed" in facets(installed, root, "rebuild", "digits", code=7)
    again = facets(installed, root, "init", code=2)
    assert f"a new project needs a folder without params.yaml, got {root}; give another one" in again


CUDA = re.compile("nvidia|cuda|triton")
"""Folders of packages that a torch for the processor alone does without; no index that is reached here has that one."""


@pytest.mark.soak
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_environments_from_the_index_are_small_and_work(installed: Installed, tmp_path: Path, version: str) -> None:
    """With all that pip, or uv, fetches; sizes have the byte code of every module."""
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-V"], capture_output=True, check=False).returncode:
        pytest.skip(f"no Python {version} here")
    (wheel,) = (installed.prefix.parent / "wheels").iterdir()
    reading, training = (Installed(tmp_path / kind, installed.path) for kind in ("reading", "training"))
    for each in (reading, training):
        subprocess.run([python, "-m", "venv", each.prefix], check=True)
    subprocess.run([reading.prefix / "bin" / "pip", "install", "--quiet", wheel], check=True, capture_output=True)
    uv = [Path(sys.executable).with_name("uv"), "pip", "install", "--quiet", "--compile-bytecode", "--python"]
    subprocess.run([*uv, training.prefix / "bin" / "python", f"{wheel}[train]"], check=True)
    (packages,) = training.prefix.glob("lib/python*/site-packages")
    cuda = sum(disk_usage(path) for path in packages.iterdir() if CUDA.match(path.name))
    sizes = {"reading": disk_usage(reading.prefix), "training": disk_usage(training.prefix)}
    sizes["training, without CUDA's packages"] = sizes["training"] - cuda
    megabytes = {name: round(size / 1e6) for name, size in sizes.items()}
    assert build_project(training, tmp_path / "empty").is_dir()
    write_result(version, megabytes)
    assert megabytes["reading"] <= 400
    assert megabytes["training, without CUDA's packages"] <= 2500
    shutil.rmtree(training.prefix)


def write_result(version: str, megabytes: dict[str, int]) -> None:
    path = PROJECT / "benchmarks" / "results" / "environments.json"
    before = json.loads(path.read_text())["megabytes"] if path.exists() else {}
    result = {"command": "make soak", "megabytes": {**before, version: megabytes}, "machine": describe_machine()}
    path.write_text(json.dumps(result, indent=2) + "\n")


def test_an_own_gitignore_gets_the_lines_that_it_lacks(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("mine\n/.work/")
    said = facets(installed, tmp_path, "init")
    assert "kept    .gitignore: yours" in said
    lines = (tmp_path / ".gitignore").read_text().splitlines()
    assert lines[:2] == ["mine", "/.work/"]
    assert lines.count("/.work/") == 1
    assert "/published/" in lines
