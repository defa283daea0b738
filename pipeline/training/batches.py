"""Which images and which noise a step sees: pure functions of the seed, the epoch and the position in it."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pipeline.core.seeding import numpy_generator, torch_generator
from pipeline.training.schedule import Chunk, ProgressiveSchedule


def epoch_order(seed: int, epoch: int, schedule: ProgressiveSchedule, n_images: int) -> Int64[np.ndarray, "step batch"]:
    """Return the images of every step of an epoch.

    The last batch is filled up with the first images of the same order, so that all batches have one size (and one
    captured graph); each image is seen once, a few twice.
    """
    order = numpy_generator(seed, "train", "order", epoch).permutation(n_images)
    n_needed = schedule.steps_per_epoch * schedule.batch_size
    return np.resize(order, n_needed).reshape(schedule.steps_per_epoch, schedule.batch_size)


def chunk_noise(
    seed: int, chunk: Chunk, shape: Sequence[int], device: torch.device, dtype: torch.dtype
) -> Float[Tensor, "step sample batch latent"]:
    """Return standard normal noise for the steps of a chunk.

    Args:
        seed: the model's seed.
        chunk: which steps.
        shape: samples, batch size, latent dimensions of all facets together.
        device: where it is drawn; other devices give other numbers.
        dtype: precision of the numbers.
    """
    generator = torch_generator(seed, "train", "noise", chunk.start, device=device)
    return torch.randn(chunk.n_steps, *shape, generator=generator, device=device, dtype=dtype)
