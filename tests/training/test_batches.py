import numpy as np
import pytest
import torch

from pipeline.training.batches import chunk_noise, epoch_order
from pipeline.training.schedule import ProgressiveSchedule
from tests.training.builders import TRAIN

CPU = torch.device("cpu")


@pytest.mark.parametrize("n_images", [5, 8, 24, 29])
def test_each_image_is_seen_once_an_epoch_and_a_ragged_end_is_filled_up(n_images):
    schedule = ProgressiveSchedule(TRAIN, 2, n_images)
    order = epoch_order(3, 0, schedule, n_images)
    assert order.shape == (schedule.steps_per_epoch, schedule.batch_size)
    flat = order.flatten()
    assert sorted(flat[:n_images]) == list(range(n_images))
    np.testing.assert_array_equal(flat[n_images:], flat[: len(flat) - n_images])


def test_order_is_a_pure_function_of_seed_and_epoch():
    schedule = ProgressiveSchedule(TRAIN, 2, 24)
    first = epoch_order(0, 0, schedule, 24)
    np.testing.assert_array_equal(first, epoch_order(0, 0, schedule, 24))
    assert (first != epoch_order(0, 1, schedule, 24)).any()
    assert (first != epoch_order(1, 0, schedule, 24)).any()


def test_noise_is_a_pure_function_of_seed_and_leg():
    first, second, *_ = ProgressiveSchedule(TRAIN, 2, 24).chunks()
    shape = (2, 8, 5)
    noise = chunk_noise(0, first, shape, CPU, torch.float32)
    assert noise.shape == (3, *shape)
    assert torch.equal(noise, chunk_noise(0, first, shape, CPU, torch.float32))
    others = [chunk_noise(0, second, shape, CPU, torch.float32), chunk_noise(1, first, shape, CPU, torch.float32)]
    assert all((noise - other).abs().min() > 0 for other in others)
    assert noise.unique().numel() == noise.numel()


def test_noise_is_standard_normal():
    (chunk,) = (chunk for chunk in ProgressiveSchedule(TRAIN, 2, 24).chunks() if chunk.epoch == 4)
    noise = chunk_noise(0, chunk, (1, 4000, 5), CPU, torch.float64)
    n = noise.numel()
    assert abs(noise.mean()) < 5 / n**0.5
    assert abs(noise.var() - 1) < 5 * (2 / n) ** 0.5
