"""Deliveries that a service must survive: what people, broken programs and enemies put into a drop folder."""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

Put = Callable[[Path, str, np.ndarray], list[str]]
"""Puts a delivery made from a name and some images into an inbox; returns the names of the good images in it."""


@dataclass(frozen=True)
class Poison:
    """One kind of delivery.

    Attributes:
        put: puts it there.
        is_useless: whether it must end in ``rejected/``; else it must come in, without its bad entries.
    """

    put: Put
    is_useless: bool


def folder_of(inbox: Path, stem: str, images: np.ndarray) -> tuple[Path, list[str]]:
    """Write a hidden folder of PNG files, whose names tell them from all others, and return it and those names."""
    folder = inbox / f".{stem}"
    folder.mkdir(parents=True)
    names = [f"{stem}-{number:03d}.png" for number in range(len(images))]
    for file, image in zip(names, images, strict=True):
        Image.fromarray(image).save(folder / file)
    return folder, names


def show(folder: Path, name: str | bytes) -> None:
    """Let a hidden folder appear under its name, complete."""
    (folder / ".complete").touch()
    folder.rename(folder.with_name(os.fsdecode(name)))


def _good(inbox: Path, stem: str, images: np.ndarray) -> list[str]:
    folder, names = folder_of(inbox, stem, images)
    show(folder, stem)
    return names


def _bad_entries(inbox: Path, stem: str, images: np.ndarray) -> list[str]:
    folder, names = folder_of(inbox, stem, images)
    (folder / names[0]).write_bytes((folder / names[0]).read_bytes()[:30])
    (folder / names[1]).write_bytes(b"")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "dangling.png").symlink_to("nowhere.png")
    (folder / "outside").symlink_to("/etc")
    (folder / "passwd.png").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.png")
    (folder / "\x1b[31mred\x1b]0;title\x07.png").write_bytes(b"no image")
    (folder / ("x" * 240 + ".png")).write_bytes(b"no image")
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(b"no image")
    show(folder, stem)
    return names[2:]


def _named(name: Callable[[str], str | bytes]) -> Put:
    def put(inbox: Path, stem: str, images: np.ndarray) -> list[str]:
        folder, names = folder_of(inbox, stem, images)
        show(folder, name(stem))
        return names

    return put


def _link(target: str) -> Put:
    def put(inbox: Path, stem: str, _images: np.ndarray) -> list[str]:
        (inbox / stem).symlink_to(target.format(stem=stem))
        return []

    return put


def _pipe(inbox: Path, stem: str, _images: np.ndarray) -> list[str]:
    os.mkfifo(inbox / f"{stem}.npy")
    return []


def _written(suffix: str, write: Callable[[Path], None]) -> Put:
    def put(inbox: Path, stem: str, _images: np.ndarray) -> list[str]:
        hidden = inbox / f".{stem}{suffix}"
        write(hidden)
        hidden.rename(inbox / f"{stem}{suffix}")
        return []

    return put


def _sparse_npy(path: Path) -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000, 8, 8), }"
    header += b" " * (117 - len(header)) + b"\n"
    with path.open("wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
        file.truncate(10 + len(header) + 64 * 10**10)


def _unallocated_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("images", (10**10, 8, 8), np.uint8, chunks=(4096, 8, 8), compression="gzip")


def _one_value_many_times(path: Path) -> None:
    value = pa.array([b"\x89PNG" + bytes(40_000_000)] * 64, pa.binary())
    pq.write_table(pa.table({"image": value.dictionary_encode()}), path, compression="zstd")


def _garbage(path: Path) -> None:
    path.write_bytes(b"\x93NUMPY" + bytes(range(256)))


def _huge_picture(inbox: Path, stem: str, images: np.ndarray) -> list[str]:
    folder, names = folder_of(inbox, stem, images)
    Image.new("L", (12_000, 12_000)).save(folder / "bomb.png")
    show(folder, stem)
    return names


def _empty(inbox: Path, stem: str, images: np.ndarray) -> list[str]:
    folder, _ = folder_of(inbox, stem, images[:0])
    show(folder, stem)
    return []


GOOD = Poison(_good, is_useless=False)

KINDS = {
    "bad entries": Poison(_bad_entries, is_useless=False),
    "huge picture": Poison(_huge_picture, is_useless=False),
    "name of 240 letters": Poison(_named(lambda stem: stem + "-" + "n" * (239 - len(stem))), is_useless=False),
    "name that is no UTF-8": Poison(_named(lambda stem: stem.encode() + b"-\xff\xfe\xe9"), is_useless=False),
    "name with escape codes": Poison(_named(lambda stem: f"{stem}-\x1b[2J\n\x07"), is_useless=False),
    "dangling link": Poison(_link("nowhere-{stem}"), is_useless=True),
    "link to itself": Poison(_link("{stem}"), is_useless=True),
    "link to a foreign folder": Poison(_link("/etc"), is_useless=True),
    "pipe": Poison(_pipe, is_useless=True),
    "sparse NPY": Poison(_written(".npy", _sparse_npy), is_useless=True),
    "unallocated HDF5": Poison(_written(".h5", _unallocated_hdf5), is_useless=True),
    "one value many times": Poison(_written(".parquet", _one_value_many_times), is_useless=True),
    "garbage": Poison(_written(".npy", _garbage), is_useless=True),
    "empty folder": Poison(_empty, is_useless=True),
}
