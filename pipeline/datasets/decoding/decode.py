"""From the bytes of an image file to pixels, or to a reason why not.

Read are PNG, JPEG, WebP, TIFF, BMP, GIF and PNM (PBM, PGM, PPM) with one picture each. What comes out:

* grey (also 1-bit and 16-bit) becomes one channel, colour (also every palette) three;
* 16-bit grey is scaled, 65535 or what ``preprocess.brightest`` says to 255, and rounded; 16-bit colour keeps its upper
  bytes, and a PGM that states another largest value than 65535 is scaled by that;
* transparency is laid on white;
* the orientation that a camera noted is applied;
* a JPEG whose end marker was cut off is read, as its picture is whole; one that lacks pixels is not.

Everything is checked on the header before a pixel is decoded, so that a small file cannot ask for much memory.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import TracebackType
from typing import IO, Any, cast

import numpy as np
import simplejpeg
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageFile

from pipeline.core.errors import DataError
from pipeline.core.text import reason_of
from pipeline.datasets.decoding.bit_depth import eight_bits, has_16_bits
from pipeline.datasets.decoding.flatten import Samples, flatten, turn_of
from pipeline.datasets.decoding.kinds import JPEG_START, START_BYTES, kind_of
from pipeline.datasets.files.bounds import require_file_size
from pipeline.datasets.files.location import ByteFile

OneImage = UInt8[np.ndarray, "channel height width"]

_TILE_WIDTH, _TILE_HEIGHT = 322, 323  # TIFF tags
_JPEG_COLOURS = {"Gray": "GRAY", "YCbCr": "RGB", "RGB": "RGB"}
"""How the colours of a JPEG's file are decoded; of others Pillow says what is wrong with them."""
_EXIF, _XMP = b"Exif\0", b"http://ns.adobe.com/xap"
"""JPEGs with one of these may hold an orientation."""

_JPEG_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")  # neither stuffed, nor one that restarts the decoder
_START_OF_SCAN, _END_OF_IMAGE = b"\xda", b"\xd9"
_MOST_SCANS = 100
"""A JPEG may hold any number of scans, each of a few bytes, each over all pixels; programs write about ten."""

_MOST_TEXT_PIXELS = 2**22
"""Of a PNM written as text, whose numbers are parsed one by one: a second's work."""

_REFUSED_MODES = {
    "CMYK": "is CMYK, whose colours depend on a printer; save it as RGB",
    "I": "has 32-bit or signed samples; save it with 8 or 16 bits",
    "F": "has floating-point samples; save it with 8 or 16 bits",
    "LAB": "is in the Lab colour space; save it as RGB",
}


def decode_image(data: bytes, max_pixels: int | None = None) -> OneImage:
    """Decode one image file, 16 bits by their full range; arguments and errors are those of :func:`decode_samples`."""
    samples = decode_samples(data, max_pixels).values
    return eight_bits(samples, None) if has_16_bits(samples) else samples


def decode_samples(data: bytes, max_pixels: int | None = None) -> Samples:
    """Decode one image file, and leave 16-bit grey as it is.

    Args:
        data: all bytes of the file.
        max_pixels: images of more are refused before they are decoded; None for bytes that were checked before.

    Returns:
        Channel, height and width, as a view whose memory has the order height, width, channel.

    Raises:
        DataError: with the reason alone, to be put behind the file's name.
    """
    if not data:
        raise DataError("is empty (0 bytes); deliver it again")
    if max_pixels is not None:
        require_file_size(len(data), max_pixels)
        if data.startswith(JPEG_START):
            _check_scans(data)
    pixels = _plain_jpeg(data, max_pixels) if data.startswith(JPEG_START) else None
    values, is_transparent = _decode_with_pillow(data, max_pixels) if pixels is None else (pixels, False)
    return Samples(_channel_first(values), is_transparent)


def picture_samples(picture: Image.Image, max_pixels: int) -> Shaped[np.ndarray, "channel height width"]:
    """Return the samples of a picture that Pillow has opened or made, as :func:`decode_samples` does of a file.

    Raises:
        DataError: the reason.
    """
    _check_picture(picture, max_pixels)
    with _PLAIN_REASONS:
        return _channel_first(flatten(picture).values)


def decode_images(encoded: Iterable[bytes]) -> list[OneImage]:
    """Decode image files that were checked when they came in.

    Raises:
        DataError: one is damaged.
    """
    with without_warnings():
        return [decode_image(data) for data in encoded]


def open_header(file: ByteFile, max_pixels: int | None) -> ImageFile.ImageFile:
    """Parse an image's header, and refuse what must not be decoded; no pixel is decoded.

    Raises:
        DataError: the reason.
    """
    start = file.read(START_BYTES)
    file.seek(0)
    stream = cast(IO[bytes], file)
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        # Pillow allocates a WebP's whole canvas when it opens the file, so its size is read here.
        _check_size(*_webp_size(start), max_pixels)
        kind = "WebP"
    else:
        kind = kind_of(start)
    image = _opener(kind)(stream)
    _check_picture(image, max_pixels)
    if kind == "Tiff":
        tags: Any = getattr(image, "tag_v2", {})
        _check_size(tags.get(_TILE_WIDTH, 1), tags.get(_TILE_HEIGHT, 1), max_pixels)
    if kind == "Ppm" and start[1:2] in b"123" and image.width * image.height > _MOST_TEXT_PIXELS:
        raise DataError(f"is a PNM of more than {_MOST_TEXT_PIXELS} pixels written as text; save it in binary")
    return image


@contextmanager
def without_warnings() -> Iterator[None]:
    """Silence what Pillow says of odd metadata, as only pixels matter here; put it around many calls, it costs time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def encode_png(pixels: OneImage) -> bytes:
    """Return the bytes of a PNG that :func:`decode_image` turns back into these pixels (1 or 3 channels)."""
    target = io.BytesIO()
    picture = pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    Image.fromarray(picture).save(target, "PNG", compress_level=1)
    return target.getvalue()


def _opener(kind: str) -> Callable[[IO[bytes]], ImageFile.ImageFile]:
    """Load Pillow's module when the first such file comes: all of them take a tenth of a decoding process's start."""
    return getattr(import_module(f"PIL.{kind}ImagePlugin"), f"{kind}ImageFile")


def _webp_size(start: bytes) -> tuple[int, int]:
    kind = start[12:16]
    if kind == b"VP8X":
        return int.from_bytes(start[24:27], "little") + 1, int.from_bytes(start[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(start[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(start[26:28], "little") & 0x3FFF, int.from_bytes(start[28:30], "little") & 0x3FFF


def _check_picture(image: Image.Image, max_pixels: int | None) -> None:
    if getattr(image, "is_animated", False):
        raise DataError("is animated or has several pages; save each picture in a file of its own")
    _check_size(*image.size, max_pixels)
    if image.mode in _REFUSED_MODES and (image.format, image.mode) != ("PPM", "I"):  # Pillow's 16 bits of a PGM
        raise DataError(_REFUSED_MODES[image.mode])


def _check_size(width: int, height: int, max_pixels: int | None) -> None:
    if width < 1 or height < 1:
        raise DataError(f"has no pixels ({width}×{height}); deliver it again")
    if max_pixels is not None and width * height > max_pixels:
        raise DataError(
            f"has {width}×{height} pixels, more than max_pixels = {max_pixels}; "
            "make it smaller or raise preprocess.max_pixels"
        )


def _check_scans(data: bytes) -> None:
    if data.count(b"\xff\xda") <= _MOST_SCANS:  # also counts what metadata may hold
        return
    n_scans, place = 0, 2
    while (marker := _JPEG_MARKER.search(data, place)) and marker[1] != _END_OF_IMAGE:
        n_scans += marker[1] == _START_OF_SCAN
        if n_scans > _MOST_SCANS:
            raise DataError(f"is a JPEG of more than {_MOST_SCANS} scans; save it anew with another program")
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")


def _plain_jpeg(data: bytes, max_pixels: int | None) -> UInt8[np.ndarray, "height width *channel"] | None:
    """Decode a JPEG sooner than Pillow and to the same pixels; None where Pillow has to judge or to turn it."""
    if (_EXIF in data or _XMP in data) and _is_turned_or_odd(data):
        return None
    try:
        height, width, kind, _ = simplejpeg.decode_jpeg_header(data)
        if kind not in _JPEG_COLOURS or (max_pixels is not None and int(height) * int(width) > max_pixels):
            return None
        pixels = simplejpeg.decode_jpeg(data, _JPEG_COLOURS[kind])
    except ValueError:  # damaged, perhaps so little that Pillow takes it
        return None
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


class _PlainReasons:
    """Says of a damaged file that it is, whatever Pillow's parsers stumble over; a generator would take longer."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, Exception) and not isinstance(error, DataError | MemoryError):
            raise DataError(f"is damaged or truncated ({reason_of(error)}); deliver it again") from None


_PLAIN_REASONS = _PlainReasons()


def _decode_with_pillow(data: bytes, max_pixels: int | None) -> Samples:
    with _PLAIN_REASONS, open_header(io.BytesIO(data), max_pixels) as image:
        try:
            return flatten(image)
        except OSError:
            if (ended := _with_end(data)) is None:
                raise
            return _decode_with_pillow(ended, max_pixels)


def _channel_first(pixels: Shaped[np.ndarray, "height width *channel"]) -> Shaped[np.ndarray, "channel height width"]:
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _with_end(data: bytes) -> bytes | None:
    """Return a JPEG with its end marker where nothing else was cut off; None for any other file."""
    if not data.startswith(JPEG_START) or data.endswith(b"\xff" + _END_OF_IMAGE):
        return None
    ended = data + (_END_OF_IMAGE if data.endswith(b"\xff") else b"\xff" + _END_OF_IMAGE)
    try:
        simplejpeg.decode_jpeg(ended)  # strict: a missing pixel is a fault
    except ValueError:
        return None
    return ended


def _is_turned_or_odd(data: bytes) -> bool:
    try:
        with open_header(io.BytesIO(data), None) as image:
            return turn_of(image) is not None
    except Exception:  # noqa: BLE001 - whatever it is, decoding with Pillow meets it again and says so
        return True
