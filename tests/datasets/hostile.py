"""Small files that ask for much: memory, time, or both."""

import io
import struct
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.datasets.pictures import encode, picture

MIB = 2**20


def sparse_npy(path: Path, shape: tuple[int, ...], kind: str = "|u1") -> Path:
    """Write a header and nothing but a hole behind it."""
    with path.open("wb") as file:
        file.write(npy_header(shape, kind))
        file.truncate(file.tell() + int(np.prod(shape, dtype=object)) * np.dtype(kind).itemsize)
    return path


def npy_header(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    """Return the first bytes of an NPY file."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (117 - len(text)) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def unallocated_hdf5(path: Path, shape: tuple[int, ...], chunks: tuple[int, ...]) -> Path:
    """Declare a dataset and never write it."""
    with h5py.File(path, "w") as file:
        file.create_dataset("images", shape, np.uint8, chunks=chunks, compression="gzip")
    return path


def expanding_chunk(path: Path, n_mib: int) -> Path:
    """Write a chunk of 4 KiB whose deflated bytes unpack to ``n_mib`` MiB."""
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", (64, 8, 8), np.uint8, chunks=(64, 8, 8), compression="gzip")
        images.id.write_direct_chunk((0, 0, 0), deflated_zeros(n_mib))
    return path


def twice_deflated(path: Path) -> Path:
    """Write a dataset behind two deflate filters, a million to one."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((64, 8, 8))
    for _ in range(2):
        plist.set_filter(h5py.h5z.FILTER_DEFLATE, 0, (9,))
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple((64, 8, 8))
        h5py.h5d.create(file.id, b"images", h5py.h5t.NATIVE_UINT8, space, plist)
        images = file["images"]
        assert isinstance(images, h5py.Dataset)
        images.id.write_direct_chunk((0, 0, 0), zlib.compress(deflated_zeros(256), 9))
    return path


def deflated_zeros(n_mib: int) -> bytes:
    """Return a deflated stream of zeros, a thousandth as long."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(n_mib)) + packer.flush()


def repeated_value(path: Path, n_bytes: int, n_rows: int, field: str | None = None) -> Path:
    """Write a Parquet file in which one value stands in many rows and once on the disk."""
    value = pa.array([b"\x89PNG" + bytes(n_bytes)])
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n_rows, np.int32)), value)
    table = pa.table({"image": column if field is None else pa.StructArray.from_arrays([column], [field])})
    pq.write_table(table, path, compression="zstd", store_schema=False)
    return path


def repeated_picture(path: Path, n_rows: int, **labels: str) -> Path:
    """Write a Parquet file of one good image in many rows, with texts in columns beside it."""
    zeros = pa.array(np.zeros(n_rows, np.int32))
    columns = {"image": pa.array([encode(picture(0))])} | {name: pa.array([text]) for name, text in labels.items()}
    table = {name: pa.DictionaryArray.from_arrays(zeros, value) for name, value in columns.items()}
    pq.write_table(pa.table(table), path, compression="zstd", store_schema=False)
    return path


def bzip2_npz(path: Path) -> Path:
    """Write an NPZ packed by bzip2, a million to one."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("images.npy", npy_header((20_000, 32, 32)) + bytes(20_000 * 1024))
    return path


def many_scans(n_scans: int, side: int = 1024) -> bytes:
    """Return a progressive JPEG whose last scan comes again and again; each copy goes over all pixels."""
    target = io.BytesIO()
    Image.new("RGB", (side, side)).save(target, "JPEG", progressive=True)
    data = target.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * n_scans + data[-2:]


def lying_parquet(path: Path, n_bytes: int) -> Path:
    """Write one long value of zeros, and a footer that says that it takes eight bytes."""
    table = pa.table({"image": pa.array([bytes(n_bytes)])})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)
    true = pq.ParquetFile(path).metadata.row_group(0).column(0).total_uncompressed_size
    stated = varint(2 * true)  # as Thrift writes whole numbers
    false = b"\x90" + b"\x80" * (len(stated) - 2) + b"\x00"
    assert path.read_bytes().count(stated) == 2
    path.write_bytes(path.read_bytes().replace(stated, false))
    return path


def varint(value: int) -> bytes:
    """Return a whole number in groups of seven bits, the lowest first."""
    groups = []
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])


def tiny_chunks(path: Path, n_images: int, side: int) -> Path:
    """Write images of which every pixel is a chunk of its own."""
    with h5py.File(path, "w") as file:
        shape = (n_images, side, side)
        file.create_dataset("images", shape, np.uint8, data=np.zeros(shape, np.uint8), chunks=(1, 1, 1))
    return path


def many_arrays(path: Path, n_arrays: int) -> Path:
    """Write images among very many small arrays."""
    arrays = {f"a{k}": np.zeros(1) for k in range(n_arrays)} | {"images": np.zeros((3, 8, 8), np.uint8)}
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    return path
