from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.core.errors import DataError
from pipeline.datasets.decoding.transform import ImageTransform
from tests.datasets.builders import preprocess


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32))
def test_whole_number_reduction_is_the_mean_rounded_half_up(down, across, seed):
    image = np.random.default_rng(seed).integers(0, 256, (1, 2, 3 * down, 2 * across), dtype=np.uint8)
    result = ImageTransform((3, 2), "stretch", "source").apply(image)
    for channel in range(2):
        for row in range(3):
            for column in range(2):
                block = image[0, channel, row * down : (row + 1) * down, column * across : (column + 1) * across]
                mean = Fraction(int(block.sum()), block.size)
                assert result[0, channel, row, column] == (mean + Fraction(1, 2)).__floor__()


def test_half_is_rounded_up():
    image = np.array([[[[0, 1], [1, 0]]]], np.uint8)
    assert ImageTransform((1, 1), "stretch", "source").apply(image).item() == 1


def test_large_reduction_does_not_overflow():
    image = np.full((1, 1, 4096, 512), 255, np.uint8)
    assert (ImageTransform((1, 1), "stretch", "source").apply(image) == 255).all()


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_other_sizes_are_pillows_bilinear(channels):
    images = random_images(3, channels, 30, 17)
    result = ImageTransform((16, 20), "stretch", "source").apply(images)
    for image, got in zip(images, result, strict=True):
        for plane, channel in zip(image, got, strict=True):
            assert np.array_equal(
                channel, np.asarray(Image.fromarray(plane).resize((20, 16), Image.Resampling.BILINEAR))
            )


def test_grey_is_pillows_luma_and_rgb_repeats_grey():
    images = random_images(4, 3, 9, 7)
    grey = ImageTransform(None, "stretch", "grey").apply(images)
    for image, got in zip(images, grey, strict=True):
        assert np.array_equal(got[0], np.asarray(Image.fromarray(image.transpose(1, 2, 0).copy()).convert("L")))
    back = ImageTransform(None, "stretch", "rgb").apply(grey)
    assert all(np.array_equal(back[:, i], grey[:, 0]) for i in range(3))


def test_nothing_to_do_returns_the_images_themselves():
    images = random_images(2, 3, 8, 8)
    assert ImageTransform((8, 8), "crop", "source").apply(images) is images
    assert ImageTransform(None, "pad", "rgb").apply(images) is images


def test_crop_keeps_the_centre():
    image = np.zeros((1, 1, 4, 8), np.uint8)
    image[:, :, :, 2:6] = random_images(4, 4)
    assert np.array_equal(ImageTransform((4, 4), "crop", "source").apply(image), image[:, :, :, 2:6])
    assert np.array_equal(
        ImageTransform((4, 4), "crop", "source").apply(image.transpose(0, 1, 3, 2)), image[:, :, :, 2:6].swapaxes(2, 3)
    )


def test_pad_keeps_everything_between_black_bars():
    image = random_images(1, 3, 2, 6) // 2 + 100
    result = ImageTransform((6, 6), "pad", "source").apply(image)
    assert np.array_equal(result[:, :, 2:4], image)
    assert not result[:, :, :2].any()
    assert not result[:, :, 4:].any()


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("shape", [(1, 1000), (1000, 1), (1, 1), (3, 5), (7, 7)])
def test_every_aspect_ratio_reaches_the_size(fit, shape):
    transform = ImageTransform((6, 4), fit, "rgb")
    result = transform.apply(np.full((2, 1, *shape), 200, np.uint8))
    assert result.shape == (2, 3, 6, 4) == (2, *transform.output_shape((1, *shape)))
    assert result.max() == 200
    assert (result == 200).all() or fit == "pad"


def test_images_of_differing_sizes_become_one_array():
    images = [random_images(3, 5, 9), random_images(1, 8, 8), random_images(3, 64, 48)]
    result = ImageTransform((4, 4), "crop", "grey").apply(images)
    assert result.shape == (3, 1, 4, 4)
    alone = [ImageTransform((4, 4), "crop", "grey").apply(image[None])[0] for image in images]
    assert np.array_equal(result, np.stack(alone))


def test_no_images_give_an_empty_array():
    assert ImageTransform((4, 5), "crop", "grey").apply([]).shape == (0, 1, 4, 5)
    assert ImageTransform((4, 5), "crop", "grey").apply(random_images(0, 3, 9, 9)).shape == (0, 1, 4, 5)


@pytest.mark.parametrize(
    ("transform", "shapes", "message"),
    [
        (
            ImageTransform(None, "stretch", "source"),
            [(1, 4, 4), (1, 4, 5)],
            r"images must agree .* got 4×4 with 1 channel and 4×5 with 1 channel; set preprocess.size",
        ),
        (
            ImageTransform((4, 4), "stretch", "source"),
            [(1, 4, 4), (3, 4, 4)],
            r"got 4×4 with 1 channel and 4×4 with 3 channels; set preprocess.size and preprocess.channels",
        ),
        (
            ImageTransform((4, 4), "stretch", "grey"),
            [(4, 4, 4)],
            r"channels 'grey' needs images of 1 or 3 channels, got 4; set preprocess.channels to source",
        ),
        (ImageTransform(None, "stretch", "rgb"), [(2, 4, 4)], r"channels 'rgb' needs images of 1 or 3 channels, got 2"),
    ],
)
def test_images_that_cannot_agree_are_refused(transform, shapes, message):
    with pytest.raises(DataError, match=message):
        transform.apply([random_images(*shape) for shape in shapes])


def test_transform_for_a_model_fixes_size_and_channels():
    params = preprocess(size=None, fit="pad", channels="source")
    assert ImageTransform.from_params(params) == ImageTransform(None, "pad", "source")
    assert ImageTransform.for_model(params, (3, 32, 28)) == ImageTransform((32, 28), "pad", "rgb")
    assert ImageTransform.for_model(params, (1, 8, 8)) == ImageTransform((8, 8), "pad", "grey")
    assert ImageTransform.from_params(preprocess(size=(4, 6))).size == (4, 6)
