"""Images of few bits in 16 are as bright to the model, and have the same ids, wherever they come from."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.sections import PreprocessParams
from pipeline.core.image_ids import ContentSet, format_ids
from pipeline.core.layout import Layout
from pipeline.datasets.decoding.bit_depth import eight_bits
from pipeline.datasets.decoding.decode import decode_images
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.decoding.worker import DecodeJob, decode_chunk
from pipeline.datasets.delivery.delivery import open_delivery
from pipeline.datasets.delivery.shard import write_shard
from pipeline.datasets.prepare.build import prepare_images
from pipeline.datasets.prepare.manifest import scan
from pipeline.datasets.store.identity import hash_images
from pipeline.datasets.store.images import ImageStore
from pipeline.onboarding.sample import take_sample
from tests.datasets.builders import USUAL, preprocess
from tests.datasets.pictures import encode

BRIGHTEST = 4095


def twelve_bits(seed: int, n: int = 30) -> np.ndarray:
    """Return images so dim that by the full range most of them are black alike; one of them has the value 4012."""
    images = np.random.default_rng(seed).integers(0, 120, (n, 8, 8), dtype=np.uint16)
    images[0, 0, 0] = 4012
    return images


def write_png(images: np.ndarray, path: Path) -> str:
    path.mkdir()
    for number, image in enumerate(images):
        (path / f"{number:02}.png").write_bytes(encode(image))
    return "folder"


def write_tiff(images: np.ndarray, path: Path) -> str:
    path.mkdir()
    for number, image in enumerate(images):
        (path / f"{number:02}.tif").write_bytes(encode(image, "TIFF"))
    return "folder"


def write_pgm(images: np.ndarray, path: Path) -> str:
    path.mkdir()
    for number, image in enumerate(images):
        (path / f"{number:02}.pgm").write_bytes(b"P5 8 8 65535\n" + image.astype(">u2").tobytes())
    return "folder"


def write_array(images: np.ndarray, path: Path) -> str:
    np.save(path, images)
    return "npy"


WRITERS: Mapping[str, Callable[[np.ndarray, Path], str]] = {
    "png": write_png,
    "tiff": write_tiff,
    "pgm": write_pgm,
    "x.npy": write_array,
}


def by_id(pixels: np.ndarray) -> dict[str, list[int]]:
    ids = format_ids(hash_images(pixels), np.ones(len(pixels), np.int64)).astype(str).tolist()
    return dict(zip(ids, pixels.reshape(len(pixels), -1).tolist(), strict=True))


def prepared(root: Path, params: PreprocessParams) -> dict[str, list[int]]:
    layout = Layout(root, "mine")
    layout.source_manifest.parent.mkdir(parents=True, exist_ok=True)
    scan(layout, params)
    prepare_images(layout, params)
    found: dict[str, list[int]] = {}
    for split in ("train", "test"):
        with ImageStore(layout.prepared / f"{split}.h5") as store:
            pixels = store.read(0, store.n_images)
            ids = store.image_ids().tolist()
        found |= dict(zip(ids, pixels.reshape(len(pixels), -1).tolist(), strict=True))
    return found


def delivered(root: Path, params: PreprocessParams, location: str) -> Path:
    layout, nothing = Layout(root, "mine"), ContentSet.of_ids([])
    delivery = open_delivery(layout, params, location, workers=1)
    transform = ImageTransform.from_params(params)
    result = write_shard(layout, delivery, transform, known=nothing, removed=nothing, created="2026-01-02")
    assert result.duplicates == 0
    assert result.batch_id is not None
    return layout.batches / result.batch_id / "shard.h5"


@pytest.mark.parametrize("name", WRITERS)
def test_proposal_preparation_and_delivery_see_the_same_bright_pixels(tmp_path: Path, name: str) -> None:
    first, second = twelve_bits(0), twelve_bits(1)
    source = WRITERS[name](first, tmp_path / name)
    sample = take_sample(Layout(tmp_path, "mine"), USUAL, name)
    assert (sample.brightest, sample.peak, sample.copies) == (BRIGHTEST, 4012, 0)
    bright = np.floor(first[:, None] * (255 / BRIGHTEST) + 0.5).astype(np.uint8)
    assert bright.max() == 250
    params = preprocess(source=source, path=name, brightest=sample.brightest)
    assert by_id(sample.pixels(ImageTransform.from_params(params), params.max_pixels)) == by_id(bright)
    assert prepared(tmp_path, params) == by_id(bright)
    (tmp_path / "new").mkdir()
    WRITERS[name](second, tmp_path / "new" / name)
    with ImageStore(delivered(tmp_path, params, f"new/{name}")) as shard:
        pixels, ids = shard.read(0, shard.n_images), shard.image_ids().tolist()
    assert by_id(pixels) == by_id(np.floor(second[:, None] * (255 / BRIGHTEST) + 0.5).astype(np.uint8))
    assert list(by_id(pixels)) == ids


@pytest.mark.parametrize("name", WRITERS)
def test_null_scales_by_the_full_range_as_it_always_did(tmp_path: Path, name: str) -> None:
    images = np.random.default_rng(0).integers(0, 2**16, (20, 8, 8), dtype=np.uint16)
    source = WRITERS[name](images, tmp_path / name)
    expected = by_id(np.rint(images[:, None] / 257).astype(np.uint8))
    assert take_sample(Layout(tmp_path, "mine"), USUAL, name).brightest is None
    assert prepared(tmp_path, preprocess(source=source, path=name)) == expected


def test_a_shard_of_several_sizes_needs_no_parameter_to_be_decoded(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write_png(twelve_bits(0), folder)
    (folder / "other.png").write_bytes(encode(twelve_bits(2, 1)[0, :5]))
    params = preprocess(source="folder", path="mine", size=(4, 4), brightest=BRIGHTEST)
    with ImageStore(delivered(tmp_path, params, "mine")) as shard:
        assert shard.is_encoded
        images = decode_images(shard.encoded(0, shard.n_images))
        stated = shard.image_ids().astype(str).tolist()
    assert format_ids(hash_images(images), np.ones(31, np.int64)).astype(str).tolist() == stated
    assert max(int(image.max()) for image in images) == 250


def test_masks_that_are_left_out_say_nothing_about_the_images(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    write_png(np.kron(twelve_bits(0), np.ones((2, 2), np.uint16)), folder / "images")
    write_png((twelve_bits(1) % 2 * 65535).astype(np.uint16), folder / "masks")
    sample = take_sample(Layout(tmp_path, "mine"), USUAL, "mine")
    assert (sample.exclude, sample.brightest, sample.peak) == (("masks/*",), BRIGHTEST, 4012)


def test_larger_values_are_clipped_and_all_others_rounded() -> None:
    values = np.array([0, 8, 9, 2047, 4094, 4095, 4096, 65535], np.uint16)
    assert eight_bits(values, BRIGHTEST).tolist() == [0, 0, 1, 127, 255, 255, 255, 255]
    assert eight_bits(values, 1).tolist() == [0] + [255] * 7
    assert eight_bits(values, 65535).tolist() == eight_bits(values, None).tolist() == [0, 0, 0, 8, 16, 16, 16, 255]


@pytest.mark.parametrize(
    ("data", "pixels", "peak"),
    [
        (encode(np.array([[0, 200]], np.uint8)), [0, 200], -1),
        (encode(np.array([[0, 200]], np.uint16)), [0, 51], 200),
        (b"P5 2 1 65535\n\x00\x00\x00\xc8", [0, 51], 200),
        (b"P2 2 1 65535\n0 200\n", [0, 51], 200),
        (b"P5 2 1 200\n\x00\xc8", [0, 255], -1),
        (b"P5 2 1 4000\n\x00\x00\x0f\xa0", [0, 255], -1),
        (b"P2 2 1 4000\n0 200\n", [0, 13], -1),
    ],
    ids=["8 bits", "16 bits", "PGM", "PGM as text", "PGM of 8 bits", "PGM with a range", "such a PGM as text"],
)
def test_only_16_bits_without_a_range_of_their_own_are_scaled(data: bytes, pixels: list[int], peak: int) -> None:
    job = DecodeJob(None, 100, None, pixel_bytes=None, with_encoded=True, brightest=1000)
    (file,) = decode_chunk(job, [("x", data)])
    assert file.pixels is not None
    assert (file.pixels.ravel().tolist(), file.peak) == (pixels, peak)
    assert (file.encoded == data) == (peak < 0)
