"""HDF5 files of other people: opened with care, every fault in plain words."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from pipeline.errors import DataError


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading; whatever HDF5 stumbles over inside the context becomes a clear error too.

    Raises:
        DataError: the file is missing, no HDF5 or damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{path} is missing; put the file there or correct preprocess.path") from None
    except IsADirectoryError:
        raise DataError(f"{path} must be an HDF5 file, got a folder; correct preprocess.path") from None
    # A damaged file makes h5py raise any of these, wherever the damage is met.
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, UnicodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} must be a complete HDF5 file, but {reason}; fetch the file again") from None


def require_dataset(file: h5py.File, name: str) -> Any:
    """Return a dataset of a file.

    Raises:
        DataError: there is none of that name; the message lists what is there.
    """
    # file.get would take a damaged dataset for an absent one.
    found = file[name] if name in file else None  # noqa: SIM401
    if not isinstance(found, h5py.Dataset):
        raise DataError(f"{file.filename} must hold the dataset {name!r}, got {sorted(file)}; fetch the right file")
    return found
