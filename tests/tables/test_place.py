import fsspec
import pytest

from pipeline.core.errors import DataError
from pipeline.tables import paths, query, read
from tests.tables.builders import published_bench
from tests.web import served


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return published_bench(tmp_path_factory.mktemp("remote"))[0].root


@pytest.fixture
def address(root):
    with served(root) as address:
        yield address


def test_tables_are_read_from_a_web_server(root, address):
    expected = read("toy", "facet_0", root=root, engine="arrow")
    assert read("toy", "facet_0", root=address, engine="arrow").equals(expected)
    assert query("toy", "SELECT count(*) AS n FROM facet_1", root=address, engine="arrow").to_pylist() == [{"n": 80}]
    assert paths("toy", "facet_0", root=address)[0].startswith(f"{address}/published/toy/parts/m-aaaaaaaaaaaa/train/")


def test_tables_are_read_from_any_file_system_of_fsspec(root):
    memory = fsspec.filesystem("memory")
    memory.put(str(root / "published"), "/bucket/published", recursive=True)
    expected = read("toy", "images", root=root, engine="arrow")
    assert read("toy", "images", root="memory://bucket", engine="arrow").equals(expected)
    found = query("toy", "SELECT max(size) AS n FROM clusters", root="memory://bucket", engine="arrow")
    assert found.to_pylist() == [{"n": 27}]


def test_an_address_without_tables_is_named(address):
    with pytest.raises(DataError, match=f"{address}/published/other must hold a published version"):
        read("other", "facet_0", root=address)
