import numpy as np
import pytest
import torch

from pipeline.estimator.pixels import PixelScale
from pipeline.model.inputs import as_floats

RNG = np.random.default_rng(0)


def round_trip(rows, sample_shape):
    scale = PixelScale.of(rows, sample_shape, "gaussian")
    return scale.restored(as_floats(scale.spec, scale.inputs(rows), torch.float64))


def test_bytes_come_back_unchanged():
    rows = RNG.integers(0, 256, (5, 24), dtype=np.uint8)
    back = round_trip(rows, (2, 3, 4))
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, rows.reshape(5, 2, 3, 4))


@pytest.mark.parametrize("span", [(0.0, 1.0), (-3.0, 40.0)])
def test_numbers_come_back_to_half_a_step_of_256(span):
    low, high = span
    rows = RNG.uniform(low, high, (6, 12))
    np.testing.assert_allclose(round_trip(rows, (3, 4)), rows.reshape(6, 3, 4), atol=0.51 * (high - low) / 255)


def test_the_channel_comes_last_in_arrays_and_first_in_images():
    rows = np.arange(12, dtype=np.uint8)[None]
    images = PixelScale.of(rows, (2, 2, 3), "gaussian").inputs(rows)
    assert images.shape == (1, 3, 2, 2)
    assert images[0, 1].flatten().tolist() == [1, 4, 7, 10]


def test_features_are_an_image_of_one_row():
    rows = RNG.integers(0, 256, (4, 7), dtype=np.uint8)
    assert PixelScale.of(rows, (7,), "gaussian").inputs(rows).shape == (4, 1, 1, 7)


def test_the_training_arrays_range_is_kept_for_new_rows():
    scale = PixelScale.of(np.array([[-2.0, 2.0]]), (2,), "gaussian")
    assert scale.inputs(np.array([[0.0, 9.0]])).flatten().tolist() == [0.5, 2.75]


def test_new_images_are_clipped_to_the_training_arrays_range():
    scale = PixelScale.of(np.array([[-2.0, 2.0]]), (1, 2), "gaussian")
    assert scale.inputs(np.array([[0.0, 9.0]])).flatten().tolist() == [128, 255]


@pytest.mark.parametrize("span", [(0.0, 1.0), (-3.0, 40.0)])
def test_features_come_back_as_they_were(span):
    """A feature that varies by a thousandth of what another does is not rounded away."""
    rows = RNG.uniform(*span, (6, 5))
    rows[:, 0] = span[0] + 1e-3 * (rows[:, 0] - span[0])
    back = round_trip(rows, (5,))
    np.testing.assert_allclose(back, rows, atol=1e-6 * (span[1] - span[0]))
    assert len(np.unique(back[:, 0])) == 6


def test_a_constant_array_is_black():
    scale = PixelScale.of(np.full((2, 3), 7.0), (3,), "gaussian")
    assert scale.inputs(np.full((2, 3), 7.0)).count_nonzero() == 0
    np.testing.assert_array_equal(scale.restored(torch.zeros(2, 1, 1, 3)), np.full((2, 3), 7.0))


def test_a_bernoulli_likelihood_refuses_other_numbers():
    with pytest.raises(ValueError, match=r"numbers in \[0, 1\], got -1 … 3; scale X"):
        PixelScale.of(np.array([[-1.0, 3.0]]), (2,), "bernoulli")


def test_numbers_that_training_never_saw_are_refused():
    scale = PixelScale.of(np.array([[0.0, 1.0]]), (2,), "gaussian")
    with pytest.raises(ValueError, match=r"lie in \[0, 1\] like the training images, got 0 … 2"):
        scale.inputs(np.array([[0.0, 2.0]]))
