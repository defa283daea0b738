"""What kind of file something is, by its first bytes."""

import re

from pipeline.core.errors import DataError

KINDS = "PNG, JPEG, WebP, TIFF, BMP, GIF and PNM"

START_BYTES = 264
"""So much of a file tells its kind."""

JPEG_START = b"\xff\xd8\xff"

_PNM = re.compile(rb"P[1-6]\s")
_TAR_MARK = slice(257, 262)  # behind the first name and what is known of its file


def kind_of(start: bytes) -> str:
    """Return what a file is, as Pillow names its module for it.

    Image.open would do, but tries foreign formats too, has a size limit of its own, and takes photographs with an
    embedded preview or depth map for animations.

    Args:
        start: its first :data:`START_BYTES`.

    Raises:
        DataError: it is no image that is read.
    """
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "Png"
    if start.startswith(JPEG_START):
        return "Jpeg"
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "Tiff"
    if start.startswith(b"BM"):
        return "Bmp"
    if start[:6] in (b"GIF87a", b"GIF89a"):
        return "Gif"
    if _PNM.match(start):
        return "Ppm"
    raise DataError(foreign_kind(start) or f"is no image; {KINDS} are read")


def foreign_kind(start: bytes) -> str | None:
    """Return the reason why a file is refused that is of a known kind other than images; None for any other file.

    Args:
        start: its first :data:`START_BYTES`.
    """
    found = {b"%PDF": "a PDF", b"PK\3\4": "a ZIP archive", b"PAR1": "a Parquet file"}.get(start[:4])
    if start[4:8] == b"ftyp":
        found = "a HEIF or AVIF image, or a film"
    elif start[:2] == b"\x1f\x8b":
        found = "a gzip archive"
    elif start[_TAR_MARK] == b"ustar":
        found = "a tar archive"
    if found is None:
        return None
    advice = ""
    if found.endswith("archive"):
        advice = "; unpack it here, or move it into a folder of its own and pass that"
    elif found == "a Parquet file":
        advice = "; move it into a folder of its own and pass that"
    return f"is {found}; {KINDS} are read{advice}"
