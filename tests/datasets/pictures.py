"""Image files of every kind, good and bad, made in memory."""

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """Return random bytes of a shape."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encode(picture: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """Return a picture as the bytes of a file."""
    target = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(target, kind, **options)
    return target.getvalue()


def picture(seed: int, height: int = 12, width: int = 16) -> np.ndarray:
    """Return a colour picture whose content differs from seed to seed."""
    return noise(height, width, 3, seed=seed)


def animation(kind: str) -> bytes:
    first, *rest = (Image.fromarray(picture(seed)) for seed in range(3))
    return encode(first, kind, save_all=True, append_images=rest)


def bomb(kind: str) -> bytes:
    """Return a small file whose header promises 400 million pixels (268 for WebP, whose format allows no more)."""
    data = bytearray(encode(picture(0), kind))
    if kind == "PNG":
        data[16:24] = struct.pack(">II", 20_000, 20_000)
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    elif kind == "JPEG":
        start = data.index(b"\xff\xc0")
        data[start + 5 : start + 9] = struct.pack(">HH", 20_000, 20_000)
    elif kind == "BMP":
        data[18:26] = struct.pack("<ii", 20_000, 20_000)
    elif kind == "WEBP":
        return encode(Image.new("RGB", (16_383, 1)), "WEBP", lossless=True)[:21] + _vp8l_size(16_383, 16_383)
    elif kind == "TIFF":
        return tiff({256: 20_000, 257: 20_000})
    return bytes(data)


def tiff(tags: dict[int, int]) -> bytes:
    """Return a grey LZW TIFF of 16×16 pixels, with some tags replaced or added; the data are not valid."""
    plain = {256: 16, 257: 16, 258: 8, 259: 5, 262: 1, 273: 8, 277: 1, 278: 16, 279: 32}
    entries = sorted((plain | tags).items())
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<I", 40) + bytes(32) + directory + bytes(4)


def _vp8l_size(width: int, height: int) -> bytes:
    return struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(64)


BAD_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.png": (lambda: b"", r"is empty \(0 bytes\); deliver it again"),
    "text.png": (
        lambda: b"a renamed note, no picture at all",
        r"is no image; PNG, JPEG, WebP, TIFF, BMP, GIF and PNM are read",
    ),
    "cut.png": (lambda: encode(picture(1))[:200], r"is damaged or truncated \(.+\); deliver it again"),
    "cut.jpg": (lambda: encode(picture(2, 64, 64), "JPEG")[:-300], r"is damaged or truncated \(.*truncated.*\)"),
    "cut.gif": (lambda: encode(picture(3, 64, 64), "GIF")[:-300], r"is damaged or truncated"),
    "cut.ppm": (lambda: encode(picture(3, 64, 64), "PPM")[:-300], r"is damaged or truncated"),
    "float.pfm": (lambda: b"Pf 1 1 -1.0\n" + bytes(4), r"is no image"),
    "bomb.ppm": (lambda: b"P6 20000 20000 255\n", r"has 20000×20000 pixels, more than max_pixels"),
    "slow.ppm": (
        lambda: b"P3 3000 3000 255\n",
        r"is a PNM of more than 4194304 pixels written as text; save it",
    ),
    "cut.webp": (lambda: encode(picture(3, 64, 64), "WEBP")[:-300], r"is damaged or truncated"),
    "cut.tiff": (lambda: encode(picture(4, 64, 64), "TIFF")[:-3000], r"is damaged or truncated"),
    "cut.bmp": (lambda: encode(picture(5, 64, 64), "BMP")[:-3000], r"is damaged or truncated"),
    "header_only.png": (lambda: encode(picture(6))[:33], r"is damaged or truncated"),
    "magic_only.jpg": (lambda: b"\xff\xd8\xff", r"is damaged or truncated"),
    "bomb.png": (lambda: bomb("PNG"), r"has 20000×20000 pixels, more than max_pixels = 50000000; make it smaller"),
    "bomb.jpg": (lambda: bomb("JPEG"), r"has 20000×20000 pixels, more than max_pixels"),
    "bomb.bmp": (lambda: bomb("BMP"), r"has 20000×20000 pixels, more than max_pixels"),
    "bomb.webp": (lambda: bomb("WEBP"), r"has 16383×16383 pixels, more than max_pixels"),
    "bomb.tiff": (lambda: bomb("TIFF"), r"has 20000×20000 pixels, more than max_pixels"),
    "cmyk.jpg": (lambda: encode(Image.new("CMYK", (9, 9)), "JPEG"), r"is CMYK, .*; save it as RGB"),
    "cmyk.tiff": (lambda: encode(Image.new("CMYK", (9, 9)), "TIFF"), r"is CMYK, .*; save it as RGB"),
    "lab.tiff": (lambda: encode(Image.new("LAB", (9, 9)), "TIFF"), r"is in the Lab colour space; save it as RGB"),
    "float.tiff": (lambda: encode(Image.new("F", (9, 9)), "TIFF"), r"has floating-point samples; save it with 8 or 16"),
    "long.tiff": (lambda: encode(Image.new("I", (9, 9)), "TIFF"), r"has 32-bit or signed samples; save it with 8 or"),
    "moving.png": (lambda: animation("PNG"), r"is animated or has several pages; save each picture"),
    "moving.webp": (lambda: animation("WEBP"), r"is animated or has several pages"),
    "pages.tiff": (lambda: animation("TIFF"), r"is animated or has several pages"),
    "moving.gif": (lambda: animation("GIF"), r"is animated or has several pages"),
    "paper.pdf": (lambda: b"%PDF-1.7 nothing", r"is a PDF; PNG"),
    "photo.heic": (lambda: b"\0\0\0\x18ftypheic" + bytes(64), r"is a HEIF or AVIF image, or a film; PNG"),
    "archive.png": (lambda: b"PK\3\4" + bytes(64), r"is a ZIP archive; PNG"),
    "no_pixels.bmp": (lambda: encode(picture(7), "BMP")[:18] + bytes(8) + bytes(64), r"has no pixels|is damaged"),
}
"""Files by name: how to make one, and what its reason must say."""


def write_bad_files(folder: Path) -> None:
    """Write every file of :data:`BAD_FILES`."""
    for name, (make, _) in BAD_FILES.items():
        (folder / name).write_bytes(make())


def write_bad_entries(folder: Path, outside: Path) -> dict[str, str]:
    """Make entries that are no files of the folder; return what their reasons must say."""
    outside.mkdir(exist_ok=True)
    (outside / "secret.png").write_bytes(encode(picture(99)))
    (outside / "album").mkdir(exist_ok=True)
    (folder / "out.png").symlink_to(outside / "secret.png")
    (folder / "passwd.png").symlink_to("/etc/passwd")
    (folder / "nowhere.png").symlink_to(folder / "missing.png")
    (folder / "album").symlink_to(outside / "album")
    (folder / "device.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(folder)  # a socket's path may have 108 bytes
        try:
            server.bind("socket.png")
        finally:
            os.chdir(here)
    return {
        "out.png": r"is a link that leads out of the folder; copy the file instead",
        "passwd.png": r"is a link that leads out of the folder",
        "device.png": r"is a link that leads out of the folder",
        "nowhere.png": r"leads nowhere or vanished",
        "album": r"is a link to a folder, which is not followed; copy the folder instead",
        "pipe.png": r"is a FIFO, no file; remove it",
        "socket.png": r"is a socket, no file; remove it",
    }
