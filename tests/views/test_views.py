"""Every transformation against an independent program: scipy, numpy, Pillow, torchvision, colorsys."""

import colorsys
import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from scipy import ndimage, stats

from pipeline.config.ignores import TRANSFORMATIONS
from pipeline.core.errors import ConfigError
from pipeline.datasets.store.spec import InputSpec
from pipeline.views import View, check_ignored

N, HEIGHT, WIDTH = 6, 9, 12
SOME = {
    "mirrored": 50.0,
    "rotate": 40.0,
    "scale": 30.0,
    "shear": 20.0,
    "shift": 15.0,
    "time_shift": 25.0,
    "stroke": 0.8,
    "hue": 90.0,
    "brightness": 40.0,
    "contrast": 50.0,
    "invert": 50.0,
    "blur": 1.5,
    "noise": 10.0,
}


def images(channels=3, n=N, seed=0):
    return torch.rand(n, channels, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def numbers(view, n=N, seed=1):
    return torch.rand(n, view.n_numbers, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(ignored, x):
    """Return views of images, and the numbers that they were made of, as [-1, 1]."""
    view = View(ignored)
    drawn = numbers(view, len(x))
    return view(x, drawn).numpy(), (2 * drawn - 1).numpy()


def test_every_transformation_is_tested_here():
    assert SOME.keys() == TRANSFORMATIONS.keys()


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(
    "names", [("rotate",), ("scale",), ("shear",), ("shift",), ("rotate", "scale", "shear", "shift")], ids="-".join
)
def test_affine_maps_are_those_of_scipy(names, channels):
    """``affine_transform`` takes the inverse in pixels, rows before columns, about the corner."""
    x = images(channels)
    ignored = {name: SOME[name] for name in names}
    found, drawn = made(ignored, x)
    for i in range(N):
        own = iter(drawn[i])
        amount = {name: next(own) * SOME[name] for name in ("rotate", "scale", "shear") if name in names}
        angle = math.radians(amount.get("rotate", 0))
        shift = [next(own) * SOME["shift"] / 100 * side for side in (WIDTH, HEIGHT)] if "shift" in names else [0, 0]
        rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        shear = np.array([[1, math.tan(math.radians(amount.get("shear", 0)))], [0, 1]])
        forward = rotation @ shear * (1 + amount.get("scale", 0) / 100)
        inverse = np.linalg.inv(forward)[::-1, ::-1]  # of (row, column)
        centre = np.array([HEIGHT - 1, WIDTH - 1]) / 2
        offset = centre - inverse @ (centre + shift[::-1])
        for channel in range(channels):
            expected = ndimage.affine_transform(
                x[i, channel].numpy(), inverse, offset, order=1, mode="nearest", prefilter=False
            )
            np.testing.assert_allclose(found[i, channel], expected, atol=1e-12)


def test_a_quarter_turn_and_a_shift_by_whole_pixels():
    """Of a square image; which way, and by how much, as people say it."""
    x = images()[:, :, :, :HEIGHT]
    ends = torch.ones(N, 1, dtype=torch.float64)
    np.testing.assert_allclose(View({"rotate": 90.0})(x, ends), x.rot90(-1, (2, 3)), atol=1e-12)
    np.testing.assert_allclose(View({"rotate": 90.0})(x, 0 * ends), x.rot90(1, (2, 3)), atol=1e-12)
    right, up = torch.tensor([[1.0, 0.5]]).double(), torch.tensor([[0.5, 0.0]]).double()
    by_two = View({"shift": 200 / HEIGHT})
    np.testing.assert_allclose(by_two(x[:1], right)[..., 2:], x[:1, ..., :-2], atol=1e-12)
    np.testing.assert_allclose(by_two(x[:1], up)[..., :-2, :], x[:1, ..., 2:, :], atol=1e-12)


def test_columns_are_rolled_as_numpy_rolls_them():
    x, view = images(n=400), View({"time_shift": 25.0})
    drawn = numbers(view, 400)
    found = view(x, drawn)
    rolled = np.minimum(np.floor(drawn[:, 0].numpy() * 7), 6).astype(int) - 3
    for one, image, by in zip(found, x, rolled, strict=True):
        np.testing.assert_array_equal(one, np.roll(image, by, axis=-1))
    assert set(rolled.tolist()) == set(range(-3, 4))
    assert stats.chisquare(np.bincount(rolled + 3)).pvalue > 1e-4


@pytest.mark.parametrize("number", [0.0, 1.0])
def test_a_column_at_least_is_rolled_at_the_ends(number):
    x = images()
    found = View({"time_shift": 1.0})(x, torch.full((N, 1), number, dtype=torch.float64))
    np.testing.assert_array_equal(found, np.roll(x, 1 if number else -1, axis=-1))


@pytest.mark.parametrize(("name", "oracle"), [("mirrored", ImageOps.mirror), ("invert", ImageOps.invert)])
def test_a_part_of_the_views_is_mirrored_or_inverted_as_pillow_does_it(name, oracle):
    pixels = torch.randint(0, 256, (500, 1, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    view = View({name: 30.0})
    found = (255 * view(pixels.double() / 255, numbers(view, 500))).round().to(torch.uint8)
    expected = torch.from_numpy(np.stack([oracle(Image.fromarray(one[0].numpy())) for one in pixels]))[:, None]
    is_changed = (found == expected).flatten(1).all(1)
    assert torch.equal(found[~is_changed], pixels[~is_changed])
    assert stats.binomtest(int(is_changed.sum()), 500, 0.3).pvalue > 1e-3


def test_strokes_lie_between_the_image_and_its_dilation_or_erosion():
    x = images()
    found, drawn = made({"stroke": 0.8}, x)
    for i in range(N):
        extreme = ndimage.grey_dilation if drawn[i, 0] > 0 else ndimage.grey_erosion
        part = 0.8 * abs(drawn[i, 0])
        for channel in range(3):
            image = x[i, channel].numpy()
            expected = (1 - part) * image + part * extreme(image, size=(3, 3), mode="nearest")
            np.testing.assert_allclose(found[i, channel], expected, atol=1e-12)
    assert (drawn > 0).any()
    assert (drawn < 0).any()


def test_hues_turn_as_colorsys_says():
    x = images()
    x[0, :, :2] = 0.25  # greys have no hue
    x[1, :, 0, :3] = torch.eye(3)
    found, drawn = made({"hue": 150.0}, x)
    for i in range(N):
        for row in range(HEIGHT):
            for column in range(WIDTH):
                hue, saturation, value = colorsys.rgb_to_hsv(*x[i, :, row, column].tolist())
                expected = colorsys.hsv_to_rgb((hue + drawn[i, 0] * 150 / 360) % 1, saturation, value)
                np.testing.assert_allclose(found[i, :, row, column], expected, atol=1e-12)


@pytest.mark.xdist_group("torchvision")
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_brightness_and_contrast_are_factors(channels):
    from torchvision.transforms.v2 import functional as vision

    x = images(channels)
    (bright, b), (contrast, c) = (made({name: 40.0}, x) for name in ("brightness", "contrast"))
    for i in range(N):
        np.testing.assert_allclose(bright[i], (x[i] * (1 + 0.4 * b[i, 0])).clamp(0, 1), atol=1e-12)
        grey = x[i].mean() if channels != 3 else vision.rgb_to_grayscale(x[i]).mean()
        expected = (grey + (x[i] - grey) * (1 + 0.4 * c[i, 0])).clamp(0, 1)
        # torchvision's weights have four digits
        np.testing.assert_allclose(contrast[i], expected, atol=1e-3 if channels == 3 else 1e-12)


@pytest.mark.xdist_group("torchvision")
@pytest.mark.parametrize("name", ["brightness", "contrast"])
def test_they_are_those_of_torchvision(name):
    from torchvision.transforms.v2 import functional as vision

    x = images(3)
    found, drawn = made({name: 40.0}, x)
    adjust = getattr(vision, f"adjust_{name}")
    for i in range(N):
        np.testing.assert_allclose(found[i], adjust(x[i], 1 + 0.4 * drawn[i, 0]), atol=1e-3)


def test_blur_is_the_gaussian_filter_of_scipy():
    x, view = images(2), View({"blur": 1.5})
    drawn = numbers(view)
    drawn[0] = 0.0
    found = view(x, drawn)
    np.testing.assert_allclose(found[0], x[0], atol=1e-12)
    for i in range(1, N):
        for channel in range(2):
            expected = ndimage.gaussian_filter(
                x[i, channel].numpy(), 1.5 * drawn[i, 0].item(), mode="nearest", radius=math.ceil(4.5)
            )
            np.testing.assert_allclose(found[i, channel], expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_is_normal_and_differs_between_pixels_channels_and_views(dtype):
    x, view = torch.full((40, 2, 30, 30), 0.5, dtype=dtype), View({"noise": 5.0})
    drawn = numbers(view, 40).to(dtype)
    added = (view(x, drawn) - x).double().numpy() / (0.05 * drawn[:, :1, None, None].double().numpy())
    assert np.isfinite(added).all()
    assert stats.kstest(added.ravel(), "norm").pvalue > 1e-4
    flat = added.reshape(80, -1)  # "view and channel, pixel"
    correlation = np.corrcoef(flat) - np.eye(80)
    assert abs(correlation).max() < 5 / math.sqrt(flat.shape[1])
    beside = np.corrcoef(added[..., 1:].ravel(), added[..., :-1].ravel())[0, 1]
    assert abs(beside) < 5 / math.sqrt(added.size)


@pytest.mark.parametrize("number", [0.0, 1.0, 1 - 2**-24])
@pytest.mark.parametrize("name", SOME)
def test_at_the_ends_of_their_range_numbers_give_images_too(name, number):
    x = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    view = View({name: float(TRANSFORMATIONS[name].amounts.maximum)})
    found = view(x, torch.full((2, view.n_numbers), number))
    assert found.shape == x.shape
    assert found.isfinite().all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_all_together_one_after_another_each_with_its_own_numbers():
    x, together = images(), View(SOME)
    drawn = numbers(together)
    expected, start = x, 0
    affine = {name: SOME[name] for name in ("rotate", "scale", "shear", "shift")}
    light = {name: SOME[name] for name in ("brightness", "contrast", "invert")}
    parts = [{"mirrored": 50.0}, affine, {"time_shift": 25.0}, {"stroke": 0.8}, {"hue": 90.0}, light]
    for part in [*parts, {"blur": 1.5}, {"noise": 10.0}]:
        view = View(part)
        expected = view(expected, drawn[:, start : start + view.n_numbers])
        start += view.n_numbers
    assert start == together.n_numbers
    torch.testing.assert_close(together(x, drawn), expected)
    assert torch.equal(View(dict(reversed(SOME.items())))(x, drawn), together(x, drawn))


def test_a_view_has_nothing_of_the_images_beside_it():
    x, view = images(), View(SOME)
    drawn = numbers(view)
    alone = torch.cat([view(x[i : i + 1], drawn[i : i + 1]) for i in range(N)])
    torch.testing.assert_close(alone, view(x, drawn), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("ignored", "spec", "message"),
    [
        (
            {"hue": 10.0},
            InputSpec.pixels((1, 8, 8)),
            r"train\.ignores\[1\]\.hue needs images of 3 channels, got 1; leave",
        ),
        ({"blur": 1.0}, InputSpec("features", "float32", (1, 1, 8), False), r"ignores\[1\] must be null where inputs"),
    ],
)
def test_what_inputs_do_not_have_cannot_be_ignored(ignored, spec, message):
    with pytest.raises(ConfigError, match=message):
        check_ignored([None, ignored], spec)
    check_ignored([None, None], spec)
    check_ignored(None, spec)
    check_ignored([None, ignored], InputSpec.pixels((3, 8, 8)))
