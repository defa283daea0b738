"""Reading tables without what trains: nothing of it is imported, and a missing extra is named in one line."""

import importlib.metadata
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tomllib

import pytest

from pipeline.core.errors import ResourceError
from pipeline.core.extras import EXTRAS, as_missing_extra
from tests.repository import EXPERIMENT, PROJECT, Repository

LIGHT = f"""
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {[module for modules in EXTRAS.values() for module in modules]}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""
FACETS = f"{LIGHT}\nfrom pipeline.cli import main\nmain()"
READ = f"""{LIGHT}
from pipeline.tables import History, paths, read
assert len(read({EXPERIMENT!r}, "facet_0")) == 120
assert paths({EXPERIMENT!r}, "images") and History
"""
_MOST_OF_PARQUET = 2  # times what pyarrow.parquet alone takes: 1.5 to 1.8 measured, and 2.4 to 3.0 were pandas imported


def run(repository: Repository, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return repository.run(sys.executable, "-c", script, *arguments, check=False)


def test_every_package_of_an_extra_is_known_by_its_module() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    packages = importlib.metadata.packages_distributions()
    for extra, lines in project["optional-dependencies"].items():
        named = {re.split(r"[\[<>=]", line)[0] for line in lines} - {project["name"]}
        assert {packages[module][0].lower() for module in EXTRAS[extra]} == named, extra


def test_tables_are_read_without_any_extra(template: Repository) -> None:
    done = run(template, READ)
    assert (done.returncode, done.stderr) == (0, "")


def test_tables_are_asked_with_sql_alone(template: Repository) -> None:
    facets = FACETS.replace("'duckdb', ", "")
    shown = run(template, facets, "query", EXPERIMENT, "select count(*) as n from facet_1", "--json")
    assert json.loads(shown.stdout) == [{"n": 120}]
    assert facets != FACETS


@pytest.mark.parametrize(
    ("command", "extra"),
    [("rebuild", "train"), ("status", "train"), ("check", "train"), ("serve", "flows"), ("query tiny FROM", "sql")],
)
def test_a_command_that_needs_more_names_the_extra(template: Repository, command: str, extra: str) -> None:
    done = run(template, FACETS, *command.split())
    assert done.returncode == ResourceError.exit_code
    assert done.stderr.count("\n") == 1
    assert f"run pip install 'facet-pipeline[{extra}]', or make repro in the repository" in done.stderr


def test_the_estimator_without_torch_names_the_extra(template: Repository) -> None:
    done = run(template, f"{LIGHT}\nfrom pipeline import MultiFacetClustering")
    assert "facet-pipeline[train]" in done.stderr.splitlines()[-1]


def test_another_missing_module_is_no_extra() -> None:
    with pytest.raises(ModuleNotFoundError), as_missing_extra():
        raise ModuleNotFoundError("no", name="pipeline.nothing")


def test_the_reader_is_imported_in_a_moment() -> None:
    """In time of the processor, as tests share theirs, over that of the library it reads by: the median of seven pairs.

    The clock of a shared processor goes now twice as fast: a least time of one and of the other may be of two clocks.

    Byte code is written, whatever the caller's environment says: an installed package has it, and compiling the
    sources would be measured in place of importing them.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def seconds(script: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", script], cwd=PROJECT, env=environment, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    scripts = "from pipeline.tables import read", "import pyarrow.parquet"
    ratios = [seconds(reader) / seconds(library) for reader, library in [scripts] * 7]
    assert statistics.median(ratios) < _MOST_OF_PARQUET
