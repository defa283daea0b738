import io
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from pipeline.core.errors import DataError
from pipeline.datasets.decoding.decode import decode_image, encode_png, without_warnings
from tests.datasets.pictures import BAD_FILES, bomb, encode, noise, picture, tiff

# --- good images ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_deflate", "tile": None}),
        ("BMP", {}),
        ("PPM", {}),
    ],
)
def test_lossless_colour_comes_back_exactly(kind, options):
    pixels = picture(1)
    options = {key: value for key, value in options.items() if value is not None}
    assert np.array_equal(decode_image(encode(pixels, kind, **options)), pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM"])
def test_lossless_grey_has_one_channel(kind):
    pixels = noise(9, 7)
    assert np.array_equal(decode_image(encode(pixels, kind)), pixels[None])


@st.composite
def jpegs(draw: st.DrawFn) -> bytes:
    """Baseline and progressive JPEGs: grey, with and without subsampled colour, or with plain red, green and blue."""
    pixels = picture(draw(st.integers(0, 99)), draw(st.integers(1, 40)), draw(st.integers(1, 40)))
    options: dict[str, object] = {"quality": draw(st.integers(1, 100)), "progressive": draw(st.booleans())}
    kind = draw(st.sampled_from(["grey", "subsampled", "rgb"]))
    if kind != "grey":
        options |= {"keep_rgb": True} if kind == "rgb" else {"subsampling": draw(st.integers(0, 2))}
    return encode(Image.fromarray(pixels).convert("L" if kind == "grey" else "RGB"), "JPEG", **options)


@given(jpegs())
def test_jpeg_is_as_pillow_decodes_it(data):
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image)
    expected = expected[None] if expected.ndim == 2 else expected.transpose(2, 0, 1)
    assert np.array_equal(decode_image(data), expected)


@given(jpegs(), st.data())
def test_damaged_jpeg_is_judged_as_pillow_judges_it(data, draws):
    damaged = bytearray(data)
    for _ in range(draws.draw(st.integers(0, 3))):
        damaged[draws.draw(st.integers(0, len(damaged) - 1))] = draws.draw(st.integers(0, 255))
    damaged = damaged[: draws.draw(st.integers(len(damaged) // 2, len(damaged)))]
    with without_warnings():
        found = _pixels_or_reason(bytes(damaged))
        with mock.patch("simplejpeg.decode_jpeg_header", side_effect=ValueError):
            assert _pixels_or_reason(bytes(damaged)) == found


def _pixels_or_reason(data: bytes) -> list | str:
    try:
        return decode_image(data, 1_000_000).tolist()
    except DataError as error:
        return str(error)


def test_a_still_gif_is_colour():
    """Its palette holds every colour of an image of few."""
    pixels = np.kron(noise(4, 4, 3), np.ones((3, 3, 1), np.uint8))
    assert np.array_equal(decode_image(encode(pixels, "GIF")), pixels.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"P1 3 1 1 0 1", [0, 255, 0]),
        (b"P2 3 1 255 0 7 255", [0, 7, 255]),
        (b"P3\n# by hand\n1 1 255 9 8 7", [9, 8, 7]),
        (b"P4 3 1\n\xa0", [0, 255, 0]),
        (b"P5 2 1 65535\n\x00\x80\xff\xff", [0, 255]),
        (b"P5 2 1 1023\n\x00\x00\x03\xff", [0, 255]),
    ],
)
def test_pnm_written_as_text_or_with_other_bits(data, expected):
    assert decode_image(data, 1000).ravel().tolist() == expected


@pytest.mark.parametrize("n_lost", [1, 2])
def test_a_jpeg_without_its_end_marker_is_whole(n_lost):
    data = encode(picture(2, 40, 48), "JPEG")
    assert np.array_equal(decode_image(data[:-n_lost]), decode_image(data))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_and_rounded(kind):
    values = np.array([[0, 128, 129, 257, 32768, 65407, 65535]], np.uint16)
    expected = [[round(int(v) / 257) for v in values[0]]]
    assert decode_image(encode(values, kind)).tolist() == [expected]


def test_big_endian_16_bit_grey_is_read():
    data = encode(Image.frombytes("I;16B", (2, 1), bytes([255, 255, 128, 0])), "TIFF")
    assert decode_image(data).tolist() == [[[255, 128]]]


def test_16_bit_colour_keeps_its_upper_bytes():
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    row = bytes([0, 10, 200, 20, 100, 30, 0])  # filter byte, then three samples of two bytes
    header = bytes([0, 0, 0, 1, 0, 0, 0, 1, 16, 2, 0, 0, 0])
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    assert decode_image(data).ravel().tolist() == [10, 20, 30]


def test_one_bit_becomes_black_and_white():
    data = encode(Image.fromarray(np.array([[True, False]])), "PNG")
    assert decode_image(data).tolist() == [[[255, 0]]]


def test_palette_becomes_colour():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    assert decode_image(encode(image)).transpose(1, 2, 0).tolist() == [[[10, 20, 30], [200, 100, 50]]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white(mode):
    if mode == "P":
        image = Image.new("P", (3, 1))
        image.putpalette([100, 100, 100] * 3)
        image.putdata([0, 1, 2])
        data = encode(image, transparency=bytes([0, 128, 255]))
    else:
        values = (100, 100, 100) if mode == "RGBA" else (100,)
        image = Image.new(mode, (3, 1))
        image.putdata([(*values, 0), (*values, 128), (*values, 255)])
        data = encode(image)
    pixels = decode_image(data)
    half = 255 - (255 - 100) * 128 / 255
    assert pixels.shape[0] == (1 if mode == "LA" else 3)
    assert pixels[0, 0].tolist() == [255, pytest.approx(half, abs=1), 100]


def test_transparent_colour_of_rgb_is_laid_on_white():
    pixels = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    data = encode(pixels, transparency=(1, 2, 3))
    assert decode_image(data).transpose(1, 2, 0).tolist() == [[[255, 255, 255], [4, 5, 6]]]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_the_camera_is_applied(kind, orientation):
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = (255, 0, 0)
    upright[8:, 16:] = (0, 0, 255)
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    data = encode(np.ascontiguousarray(stored), kind, exif=exif, **lossless)
    found = decode_image(data).transpose(1, 2, 0).astype(int)
    assert found.shape == upright.shape
    assert np.abs(found - upright).max() <= 8


def test_jpeg_of_a_camera_held_upright_is_as_pillow_decodes_it():
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 1, "a camera"
    data = encode(picture(4, 30, 20), "JPEG", exif=exif)
    with Image.open(io.BytesIO(data)) as image, mock.patch.object(Image.Image, "load", side_effect=AssertionError):
        assert image.getexif()[0x010F] == "a camera"
        found = decode_image(data)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(found, np.asarray(image).transpose(2, 0, 1))


def test_unreadable_metadata_does_not_matter():
    data = encode(picture(3), "JPEG", exif=b"Exif\0\0rubbish")
    with without_warnings():
        assert decode_image(data).shape == (3, 12, 16)


def test_photograph_with_an_embedded_second_picture_is_one_picture():
    first, second = (Image.fromarray(picture(seed, 24, 24)) for seed in (1, 2))
    data = encode(first, "MPO", save_all=True, append_images=[second])
    with Image.open(io.BytesIO(encode(first, "JPEG"))) as alone:
        assert np.array_equal(decode_image(data), np.asarray(alone).transpose(2, 0, 1))


def test_memory_order_is_that_of_the_decoder():
    pixels = decode_image(encode(picture(1)))
    assert pixels.transpose(1, 2, 0).flags.c_contiguous


@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 6, 4), (1, 1, 1)])
def test_png_of_pixels_comes_back_exactly(shape):
    pixels = noise(*shape)
    assert np.array_equal(decode_image(encode_png(pixels)), pixels)


# --- bad images -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(BAD_FILES))
def test_bad_file_is_refused_with_its_reason(name):
    make, reason = BAD_FILES[name]
    with without_warnings(), pytest.raises(DataError, match=rf"^{reason}"):
        decode_image(make(), 50_000_000)


def test_limit_of_pixels_is_inclusive_and_optional():
    data = encode(picture(1, 10, 20))
    assert decode_image(data, 200).shape == (3, 10, 20)
    with pytest.raises(DataError, match=r"has 20×10 pixels, more than max_pixels = 199"):
        decode_image(data, 199)
    assert decode_image(data, None).shape == (3, 10, 20)


def test_tiles_larger_than_the_picture_count_as_its_size():
    data = tiff({322: 16_000, 323: 16_000, 324: 8, 325: 32})
    with without_warnings(), pytest.raises(DataError, match=r"has 16000×16000 pixels, more than max_pixels"):
        decode_image(data, 50_000_000)


def test_bombs_cost_little_memory(tmp_path):
    """The peak of a fresh process, before and after it meets every bomb."""
    program = """
import resource, sys
from pipeline.datasets.decoding.decode import decode_image, without_warnings
from pipeline.core.errors import DataError
bombs = {name: open(name, "rb").read() for name in sys.argv[1:]}
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "linux" else 2**20)
before, refused = peak(), 0
with without_warnings():
    for data in bombs.values():
        try:
            decode_image(data, 50_000_000)
        except DataError as error:
            refused += "max_pixels" in str(error)
print(refused, peak() - before)
"""
    paths = [tmp_path / f"bomb.{kind}" for kind in ("PNG", "JPEG", "BMP", "WEBP", "TIFF")]
    for path in paths:
        path.write_bytes(bomb(path.suffix[1:]))
    command = [sys.executable, "-c", program, *map(str, paths)]
    root = Path(__file__).parents[2]
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root).stdout
    refused, grown = map(int, output.split())
    assert refused == 5
    assert grown < 200


def test_compressed_text_does_not_inflate_without_bound():
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "a" * 5_000_000, zip=True)
    data = encode(picture(1), pnginfo=info)
    assert len(data) < 20_000
    with pytest.raises(DataError, match="is damaged or truncated"):
        decode_image(data, 50_000_000)


GOOD = [encode(picture(1, 24, 20), kind) for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP")]


@given(st.sampled_from(GOOD), st.data())
def test_fuzzed_files_give_pixels_or_a_reason(good, data):
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.integers(0, len(damaged)))]
    pixels, reason = np.empty((1, 1, 1), np.uint8), "has none"
    with without_warnings():
        try:
            pixels = decode_image(bytes(damaged), 1_000_000)
        except DataError as error:
            reason = str(error)
    assert re.match(r"(is|has) ", reason)
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[0] in (1, 3)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"BM", b"RIFF"]))
def test_fuzzed_bytes_give_a_reason(data, start):
    with without_warnings(), pytest.raises(DataError, match=r"^(is|has) "):
        decode_image(start + data, 1_000_000)
