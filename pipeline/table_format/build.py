"""From responsibilities to Parquet: the files that stage assign and ingestion leave for publishing."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Shaped

from pipeline.core.records import FacetAssignment
from pipeline.core.storage import atomic_dir
from pipeline.table_format.ids import id_column
from pipeline.table_format.schema import added_columns, facet_schema, facet_table
from pipeline.table_format.writer import TableWriter

_COLUMNS = ("cluster_id", "confidence", "entropy", "typicality", "runner_up", "runner_up_confidence")


class AssignmentWriter:
    """Appends images to the files that :func:`write_assignments` opened."""

    def __init__(self, writers: Sequence[TableWriter], schemas: Sequence[pa.Schema], constants: Mapping[str, str]):
        self._writers, self._schemas, self._constants = writers, schemas, constants

    def write(self, image_ids: Shaped[np.ndarray, " image"], facets: Sequence[FacetAssignment]) -> None:
        """Append images.

        Args:
            image_ids: as ASCII bytes or text.
            facets: the assignment of these images in each facet.

        Raises:
            ValueError: another number of facets or of images than announced.
        """
        if len(facets) != len(self._writers):
            raise ValueError(f"expected assignments of {len(self._writers)} facets, got {len(facets)}")
        ids = id_column(image_ids)
        for writer, schema, facet in zip(self._writers, self._schemas, facets, strict=True):
            if len(facet.cluster_id) != len(ids):
                raise ValueError(f"expected assignments of {len(ids)} images, got {len(facet.cluster_id)}")
            columns = {"image_id": ids, **{name: pa.array(getattr(facet, name)) for name in _COLUMNS}}
            columns |= {name: constant_column(value, len(ids)) for name, value in self._constants.items()}
            columns |= added_columns(facet)
            if "resp" in schema.names:
                columns["resp"] = _resp_column(facet)
            writer.write(pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema.names))


@contextmanager
def write_assignments(
    folder: Path, *, batch_id: str, model_version: str, n_facets: int, responsibilities: bool = False
) -> Iterator[AssignmentWriter]:
    """Open ``facet_<j>.parquet`` for the assignments of one batch; ``folder`` appears, whole, when the block ends.

    The files hold all columns of the published tables but the uids of clusters and groups, which are decided when they
    are published.

    Args:
        folder: to write; an existing one is replaced.
        batch_id: ``train``, ``test`` or the id of an ingested batch.
        model_version: of the model that assigned.
        n_facets: how many files to write.
        responsibilities: also store all responsibilities of each image.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    constants = {"batch_id": batch_id, "model_version": model_version}
    schemas = [facet_schema(facet, uid=False, responsibilities=responsibilities) for facet in range(n_facets)]
    with atomic_dir(folder) as temporary, ExitStack() as stack:
        paths = [temporary / f"{facet_table(facet)}.parquet" for facet in range(n_facets)]
        writers = [stack.enter_context(TableWriter(*place)) for place in zip(paths, schemas, strict=True)]
        yield AssignmentWriter(writers, schemas, constants)


def constant_column(value: str, n_rows: int) -> pa.DictionaryArray:
    """Return a text column that says the same in every row."""
    return pa.DictionaryArray.from_arrays(np.zeros(n_rows, np.int32), pa.array([value]))


def _resp_column(facet: FacetAssignment) -> pa.ListArray:
    if facet.resp is None:
        raise ValueError("the responsibilities are to be stored, got an assignment without them")
    n_images, n_components = facet.resp.shape
    offsets = np.arange(n_images + 1, dtype=np.int32) * n_components
    return pa.ListArray.from_arrays(offsets, np.ascontiguousarray(facet.resp).reshape(-1))
