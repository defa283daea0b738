"""Writes the HDF5 files that :mod:`pipeline.datasets.store.images` describes and reads, as a stream."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Shaped

from pipeline.core.image_ids import ID_DTYPE
from pipeline.core.storage import atomic_file
from pipeline.datasets.store.hdf5_writer import Disk, write_hdf5
from pipeline.datasets.store.images import SCHEMA
from pipeline.datasets.store.spec import InputBlock, InputSpec, Pictures, Shape

_BATCH_ID_DTYPE = np.dtype("S14")
_CHUNK_BYTES, _CHUNK_ROWS = 2**20, 4096


class StoreWriter:
    """Appends images to a store that :func:`write_store` opened."""

    def __init__(self, file: h5py.File, disk: Disk, spec: InputSpec | None, picture_shape: Shape | None) -> None:
        self._file, self._disk = file, disk
        if spec is None:
            self._create("encoded", (), np.dtype(np.uint8), _CHUNK_BYTES)
            self._create("encoded_stop", (), np.dtype(np.int64), _CHUNK_ROWS)
        else:
            file.attrs["input"] = json.dumps(spec.describe(), sort_keys=True)
            self._create("images", spec.shape, np.dtype(spec.dtype), max(1, _CHUNK_BYTES // spec.n_bytes))
        if picture_shape is not None:
            rows = max(1, _CHUNK_BYTES // math.prod(picture_shape))
            self._create("pictures", picture_shape, np.dtype(np.uint8), rows)
        self._create("image_id", (), ID_DTYPE, _CHUNK_ROWS)
        self._create("batch_id", (), _BATCH_ID_DTYPE, _CHUNK_ROWS)

    def append(
        self,
        images: InputBlock | Sequence[bytes],
        image_ids: Shaped[np.ndarray, " image"],
        batch_ids: Shaped[np.ndarray, " image"],
        pictures: Pictures | None = None,
    ) -> None:
        """Append rows.

        Args:
            images: as the store's spec says; or undecoded bytes where it has none.
            image_ids: as bytes or text.
            batch_ids: as bytes or text.
            pictures: for people, exactly where the store was opened for them.
        """
        if isinstance(images, np.ndarray):
            self._extend("images", images)
        else:
            # Not as rows of variable length: HDF5 takes longer over those than a disk does over their bytes.
            n_bytes = self._extend("encoded", np.frombuffer(b"".join(images), np.uint8))
            self._extend("encoded_stop", n_bytes + np.cumsum([len(data) for data in images]))
        if pictures is not None:
            self._extend("pictures", pictures)
        self._extend("image_id", np.asarray(image_ids))
        self._extend("batch_id", np.asarray(batch_ids))
        self._disk.raise_fault()

    def _create(self, name: str, row_shape: tuple[int, ...], dtype: np.dtype, chunk_rows: int) -> None:
        self._file.create_dataset(
            name, (0, *row_shape), dtype, maxshape=(None, *row_shape), chunks=(chunk_rows, *row_shape)
        )

    def _extend(self, name: str, values: np.ndarray) -> int:
        """Append to a dataset; return its length before."""
        column: Any = self._file[name]
        start = len(column)
        column.resize(start + len(values), axis=0)
        column[start:] = values.astype(column.dtype, copy=False)
        return start


@contextmanager
def create_store(
    path: Path, spec: InputSpec | None, *, source: str, split_rule: str, picture_shape: Shape | None = None
) -> Iterator[StoreWriter]:
    """Do as :func:`write_store` at a place where nobody looks yet: the file grows in sight and is not synced."""
    with write_hdf5(path) as (file, disk):
        file.attrs["schema"] = SCHEMA
        file.attrs["source"] = source
        file.attrs["split_rule"] = split_rule
        yield StoreWriter(file, disk, spec, picture_shape)


@contextmanager
def write_store(path: Path, spec: InputSpec | None, *, source: str, split_rule: str) -> Iterator[StoreWriter]:
    """Open a new store for appending; it appears at ``path`` when the block ends without an error.

    Args:
        path: of the HDF5 file.
        spec: what a row is; None for a store of undecoded bytes of images that differ in size.
        source: which source the images come from.
        split_rule: how the images of this store were chosen.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    with (
        atomic_file(path) as temporary,
        create_store(temporary, spec, source=source, split_rule=split_rule) as writer,
    ):
        yield writer
