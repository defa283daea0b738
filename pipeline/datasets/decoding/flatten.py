"""From a picture as Pillow has it to what people see of it: upright, in grey or colour, nothing of it transparent."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from pipeline.datasets.decoding.bit_depth import eight_bits, states_range

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MAY_HOLD_ORIENTATION = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}

_USUAL = {"L": 1, "RGB": 3}
"""Channels of pictures by their mode."""

_GREY_16 = ("I;16", "I;16B", "I;16L", "I;16N")


class Samples(NamedTuple):
    """The numbers of a picture.

    Attributes:
        values: of 8 bits, or unsigned ones of 16.
        is_transparent: whether a pixel was not opaque, and shows white.
    """

    values: Shaped[np.ndarray, "_ _ *_"]
    is_transparent: bool


def flatten(image: Image.Image) -> Samples:
    """Return what is seen of a picture, height and width first.

    Raises:
        Exception: whatever Pillow stumbles over in a damaged file.
    """
    is_scaled = image.mode == "I" and states_range(image)  # forgotten by Pillow when it loads
    image.load()
    if image.mode == "I":  # a PGM of more than 8 bits, scaled to 16
        values = np.asarray(image).astype(np.uint16)
        return Samples(eight_bits(values, None) if is_scaled else values, False)
    plain, is_transparent = _plain(_turned(image))
    return Samples(_values(plain), is_transparent)


def _values(image: Image.Image) -> Shaped[np.ndarray, "_ _ *_"]:
    """Return what ``np.asarray`` does, for small pictures of the usual modes in five sixths of its time."""
    n_channels = _USUAL.get(image.mode)
    if n_channels is None:
        return np.asarray(image)
    shape = (image.height, image.width, n_channels) if n_channels > 1 else (image.height, image.width)
    return np.frombuffer(image.tobytes(), np.uint8).reshape(shape)


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """Return how a picture is turned upright, as the camera noted; None where it stands so."""
    if _MAY_HOLD_ORIENTATION.isdisjoint(image.info):
        return None
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - metadata that cannot be parsed says nothing about the picture
        return None


def _turned(image: Image.Image) -> Image.Image:
    """Apply the camera's orientation (Pillow applies a TIFF's own while it loads)."""
    turn = None if image.format == "TIFF" else turn_of(image)
    return image if turn is None else image.transpose(turn)


def _plain(image: Image.Image) -> tuple[Image.Image, bool]:
    """Return the image as grey, 16-bit grey or RGB, transparency laid on white; and whether there was any."""
    if image.mode in _GREY_16 or (image.mode in ("L", "RGB") and "transparency" not in image.info):
        return image, False
    grey = image.mode in ("1", "L", "LA")
    is_transparent = False
    if image.has_transparency_data:
        image = image.convert("RGBA")
        is_transparent = image.getchannel("A").getextrema() != (255, 255)
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    mode = "L" if grey else "RGB"
    return image if image.mode == mode else image.convert(mode), is_transparent
