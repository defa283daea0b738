import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import ResourceError
from pipeline.core.records import FacetAssignment
from pipeline.table_format.build import id_column, write_assignments
from pipeline.table_format.schema import ROW_GROUP, SCHEMA_VERSION, facet_schema
from tests.tables.builders import cycle, make_facet, make_ids, patient


def write(folder, ids, facets, step=None, **options):
    step = step or len(ids)
    with write_assignments(folder, batch_id="train", model_version="m-0", n_facets=len(facets), **options) as writer:
        for start in range(0, len(ids), step):
            some = slice(start, start + step)
            writer.write(ids[some], [part(facet, some) for facet in facets])


def part(facet, some):
    columns = {name: value[some] for name, value in vars(facet).items() if value is not None}
    return FacetAssignment(**columns)


def test_rows_come_back_as_they_went_in(tmp_path):
    ids, facet = make_ids(10), make_facet(cycle(10, 4))
    write(tmp_path / "train", ids, [facet], step=3)
    table = pq.read_table(tmp_path / "train" / "facet_0.parquet")
    assert table.schema.names == facet_schema(0, uid=False).names
    assert table["image_id"].to_pylist() == ids.tolist()
    for name in ("cluster_id", "confidence", "entropy", "typicality", "runner_up", "runner_up_confidence"):
        column = table[name].to_numpy()
        np.testing.assert_array_equal(column, getattr(facet, name))
        assert column.dtype == getattr(facet, name).dtype
    assert set(table["batch_id"].to_pylist()) == {"train"}
    assert set(table["model_version"].to_pylist()) == {"m-0"}


def test_file_states_its_table_and_schema(tmp_path):
    write(tmp_path / "train", make_ids(3), [make_facet(cycle(3, 2))] * 2)
    metadata = pq.read_schema(tmp_path / "train" / "facet_1.parquet").metadata
    assert metadata == {b"table": b"facet_1", b"schema_version": str(SCHEMA_VERSION).encode()}


@pytest.mark.parametrize("step", [1, 7, 4096])
def test_bytes_do_not_depend_on_how_rows_come_in(tmp_path, step):
    ids, facet = make_ids(50), make_facet(cycle(50, 3))
    write(tmp_path / "whole", ids, [facet])
    write(tmp_path / "pieces", ids, [facet], step=step)
    pieces, whole = (tmp_path / name / "facet_0.parquet" for name in ("pieces", "whole"))
    assert pieces.read_bytes() == whole.read_bytes()


def test_row_groups_have_a_fixed_size(tmp_path):
    n_images = ROW_GROUP + 10
    write(tmp_path / "train", make_ids(n_images), [make_facet(cycle(n_images, 3))], step=50_000)
    file = pq.ParquetFile(tmp_path / "train" / "facet_0.parquet")
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [ROW_GROUP, 10]


def test_responsibilities_are_stored_on_demand(tmp_path):
    facet = make_facet(cycle(4, 2), responsibilities=3)
    resp = np.arange(12, dtype=np.float32).reshape(4, 3)
    facet = FacetAssignment(**{**vars(facet), "resp": resp})
    write(tmp_path / "train", make_ids(4), [facet], responsibilities=True)
    table = pq.read_table(tmp_path / "train" / "facet_0.parquet")
    assert table["resp"].to_pylist() == resp.tolist()


def test_responsibilities_must_be_there_to_be_stored(tmp_path):
    with pytest.raises(ValueError, match="responsibilities are to be stored"):
        write(tmp_path / "train", make_ids(2), [make_facet(cycle(2, 2))], responsibilities=True)


@pytest.mark.parametrize(("n_facets", "n_ids", "message"), [(1, 4, "of 2 facets, got 1"), (2, 3, "of 3 images, got 4")])
def test_wrong_lengths_are_refused_and_nothing_appears(tmp_path, n_facets, n_ids, message):
    with (
        pytest.raises(ValueError, match=message),
        write_assignments(tmp_path / "train", batch_id="train", model_version="m-0", n_facets=2) as writer,
    ):
        writer.write(make_ids(n_ids), [make_facet(cycle(4, 2))] * n_facets)
    assert list(tmp_path.iterdir()) == []


def test_no_images_give_empty_files(tmp_path):
    with write_assignments(tmp_path / "train", batch_id="train", model_version="m-0", n_facets=1):
        pass
    assert pq.read_table(tmp_path / "train" / "facet_0.parquet").num_rows == 0


def test_unwritable_folder_is_a_resource_error(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with (
        pytest.raises(ResourceError, match="must be writable"),
        write_assignments(tmp_path / "file" / "train", batch_id="train", model_version="m-0", n_facets=1),
    ):
        pass


@patient
@given(st.lists(st.text("0123456789abcdef-i", max_size=25)))
def test_ids_become_text_whatever_their_lengths(texts):
    for dtype in ("U44", "S44"):
        assert id_column(np.array(texts, dtype)).to_pylist() == texts
