"""dvc.yaml says of every stage exactly what it reads: parameters, and parts of the library."""

import ast
import importlib
import json
from typing import Any

import pytest
import yaml
from dvc_data.hashfile.meta import Meta

from pipeline.config import load_params
from tests.repository import PROJECT, STAGES, Repository

DAG: dict[str, Any] = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]

WITH_ROOMS = {"core", "datasets"}
"""Packages of which a stage depends on the rooms, or modules, that it loads."""

NO_RESULTS = {
    "pipeline/config",
    "pipeline/core/errors.py",
    "pipeline/core/extras.py",
    "pipeline/core/folder_seal.py",
    "pipeline/core/layout.py",
    "pipeline/core/memory.py",
    "pipeline/core/naming.py",
    "pipeline/core/processors.py",
    "pipeline/core/progress.py",
    "pipeline/core/sealed.py",
    "pipeline/core/shapes.py",
    "pipeline/core/supervision.py",
    "pipeline/core/text.py",
    "pipeline/core/upgrades.py",
}
"""Leaves that cannot alter an output: parameters arrive as declared values, but in stage resolve, which makes them;
others are words, paths, types, buffers, processors, who ends with whom, checksums of what is published, what earlier
releases called it."""


OVERLOOKED = {Meta.PARAM_SIZE, Meta.PARAM_NFILES}
"""Keys that DVC leaves out wherever they stand when it looks up an earlier run."""


def test_stages_stand_in_an_order_that_their_dependencies_allow() -> None:
    made: set[str] = set()
    later = {path for stage in DAG.values() for path in _outputs(stage)}
    for stage in DAG.values():
        read = {*stage["deps"], *(path for params in stage["params"] for path in params if isinstance(params, dict))}
        assert not read & (later - made)
        made |= _outputs(stage)
    assert tuple(DAG) == STAGES


def _outputs(stage: dict[str, Any]) -> set[str]:
    listed = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return {path for out in listed for path in ([out] if isinstance(out, str) else out)}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_exactly_the_sections_that_it_reads(stage: str) -> None:
    (params,) = DAG[stage]["params"]
    if stage == "resolve":  # reads all of it, for the others
        assert params == "experiments.${item.experiment}"
        return
    ((_, declared),) = params.items()
    values = vars(load_params(PROJECT).experiment("digits"))
    assert set(params) == {"artifacts/${item.experiment}/params.json"} <= _outputs(DAG["resolve"])
    module = importlib.import_module(f"pipeline.stages.{stage}")
    tree = ast.parse((PROJECT / "stages" / f"{stage}.py").read_text())
    overlooked = {key for key in declared if key.rpartition(".")[2] in OVERLOOKED}
    read = {name.removeprefix("params.") for name in map(ast.unparse, _attributes(tree)) if name.startswith("params.")}
    sections = {name for name in read if "." not in name}
    keys = {name for name in read if name.partition(".")[0] not in sections}  # of a section that is not read whole
    assert set(declared) - overlooked == set(module.SECTIONS) == sections | keys
    read_whole = {name: vars(values[name]) for name in sections if name != "seeds"}
    assert overlooked == {f"{name}.{key}" for name, found in read_whole.items() for key in found if key in OVERLOOKED}
    assert len(declared) == len(set(declared))


def _attributes(tree: ast.AST) -> list[ast.Attribute]:
    """Return the attributes that are not themselves looked into: of ``params.train.device``, not ``params.train``."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    inner = {id(node.value) for node in found}
    return [node for node in found if id(node) not in inner]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_exactly_on_the_parts_of_the_library_that_it_loads(template: Repository, stage: str) -> None:
    loaded = json.loads((template.root / ".work" / "imports" / f"{stage}.json").read_text())
    no_results = NO_RESULTS - ({"pipeline/config"} if stage == "resolve" else set())
    of_library = [module for module in loaded if not module.startswith("pipeline.stages")]
    parts = {part for module in of_library if (part := _part(module))} - no_results
    declared = {dep for dep in DAG[stage]["deps"] if dep.startswith(("pipeline/", "stages/"))}
    assert declared == parts | {f"stages/{stage}.py"}


def _part(module: str) -> str | None:
    """Return the folder or file of the library, as dvc.yaml would name it, that a loaded module belongs to."""
    names = module.split(".")
    depth = 3 if names[1] in WITH_ROOMS else 2
    if len(names) < depth:  # the docstring of a package
        return None
    path = "/".join(names[:depth])
    return path if (PROJECT / path).is_dir() else f"{path}.py"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_by_its_own_module_for_one_experiment(stage: str) -> None:
    assert DAG[stage]["cmd"] == f"sh stages/run {stage} ${{item.experiment}}"
    assert DAG[stage]["matrix"] == {"experiment": "${active}"}


def test_no_output_of_a_stage_is_tracked_by_git(template: Repository) -> None:
    tracked = template.run("git", "ls-files").stdout.splitlines()
    assert not [path for path in tracked if path.startswith(("artifacts/", "published/", "data/prepared/", ".work/"))]
    assert "dvc.lock" in tracked


def test_dvc_writes_no_gitignore_file_of_its_own(template: Repository) -> None:
    assert template.run("git", "status", "--porcelain").stdout == ""
    assert template.run("git", "ls-files", "*.gitignore").stdout.split() == [".dvc/.gitignore", ".gitignore"]


TRAIN_ALONE = """
import importlib.abc, runpy, sys

ABSENT = {"dvc", "prefect", "pooch", "duckdb", "typer", "plotly", "psutil", "rich", "polars", "distributed", "pydantic"}

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"{name} is not on this machine", name=name)

sys.meta_path.insert(0, Absent())
for name in ("preprocess", "init_mog", "score"):
    __import__(f"pipeline.stages.{name}")
sys.argv = ["stages/train.py", "tiny"]
runpy.run_module("pipeline.stages.train", run_name="__main__")
"""


def test_a_machine_that_only_trains_needs_neither_dvc_nor_prefect_nor_tables(repository: Repository) -> None:
    model = repository.root / "artifacts" / "tiny" / "model"
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    repository.run("rm", "-rf", str(model))
    repository.run(".venv/bin/python", "-c", TRAIN_ALONE)
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before
