"""What is no name is refused wherever the name of an experiment comes in."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipeline import show
from pipeline.config import load_params, load_sections
from pipeline.core.errors import ConfigError
from pipeline.core.layout import Layout
from pipeline.operations.check import check_experiments
from pipeline.operations.new import add_experiment
from pipeline.operations.paper import make_paper
from pipeline.operations.rebuild import active_experiment
from pipeline.operations.status import experiment_status
from pipeline.operations.tidy import tidy
from pipeline.tables import paths, query, read
from tests.repository import tiny_experiment

BAD = [
    "",
    "../x",
    "/etc",
    "..",
    "a/b",
    "-x",
    "--help",
    "x\n",
    "x\x1b[31m",
    "x\x00",
    "Digits",
    "1st",
    "é",
    "x" * 42,
    "null",
    "on",
]

ENTRIES: list[Callable[[Path, str], object]] = [
    Layout,
    lambda root, name: load_params(root).experiment(name),
    lambda root, name: load_sections(root, name, ("seeds",)),
    active_experiment,
    lambda root, name: experiment_status(root, load_params(root), name),
    lambda root, name: check_experiments(root, [name]),
    lambda root, name: add_experiment(root, name, str(root)),
    lambda root, name: make_paper(root, [name]),
    tidy,
    lambda root, name: read(name, "facet_0", root=root),
    lambda _root, name: read(name, "facet_0"),
    lambda root, name: paths(name, "facet_0", root=root),
    lambda root, name: query(name, "FROM facet_0", root=root),
    lambda _root, name: query(name, "FROM facet_0"),
    lambda root, name: query(name, "FROM facet_0", root=f"file://{root}"),
    lambda root, name: show.scores(name, root=root),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names")
    params = {"active": ["tiny"], "experiments": {"tiny": tiny_experiment()}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("entry", range(len(ENTRIES)))
def test_what_is_no_name_is_refused(root: Path, entry: int, name: str) -> None:
    with pytest.raises(ConfigError, match="a name is lower-case letters, digits and _") as caught:
        ENTRIES[entry](root, name)
    assert str(caught.value).isprintable()
    assert {path.name for path in root.iterdir()} == {"params.yaml"}


@pytest.mark.parametrize("name", [*BAD, 7, None, True])
def test_it_is_no_key_of_the_parameters(tmp_path: Path, name: object) -> None:
    params = {"active": ["tiny"], "experiments": {"tiny": tiny_experiment(), name: tiny_experiment()}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(ConfigError, match="a name is lower-case letters, digits and _") as caught:
        load_params(tmp_path)
    assert str(caught.value).isprintable()
