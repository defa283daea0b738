"""A torch network as a backbone: normalised pictures in, features out, on whatever device there is."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue in [0, 1], by which networks trained on ImageNet are used to see pictures."""


class Network:
    """Runs a network on the GPU in bfloat16 where there is one that multiplies it, else in float32.

    Processors compute in float32, so that features are the same numbers up to rounding wherever they are made; one that
    has no instructions for bfloat16 gains next to nothing by it (``benchmarks/embedding.py``).

    Args:
        network: without its classifier; a picture becomes a row of numbers.
        image_size: height and width of the pictures that it takes.
        scale: mean and standard deviation of each channel in [0, 1], which become 0 and 1.
        sha256: of the weights as they came.
    """

    def __init__(
        self,
        network: nn.Module,
        image_size: tuple[int, int],
        scale: tuple[Sequence[float], Sequence[float]],
        sha256: str,
    ) -> None:
        self.image_size, self.sha256 = image_size, sha256
        has_gpu = torch.cuda.is_available()
        self._device = torch.device("cuda" if has_gpu else "cpu")
        self._precision = torch.bfloat16 if has_gpu and torch.cuda.is_bf16_supported() else torch.float32
        frozen: Any = network.eval().requires_grad_(False).to(self._device, self._precision)
        self._network = frozen.to(memory_format=torch.channels_last)
        self._mean, self._std = (255 * torch.tensor(one, device=self._device).view(3, 1, 1) for one in scale)
        self.n_features = self.embed(np.zeros((1, 3, *image_size), np.uint8)).shape[1]

    @torch.inference_mode()
    def embed(self, images: UInt8[np.ndarray, "image 3 height width"]) -> Float32[np.ndarray, "image feature"]:
        """Return the features of some pictures."""
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self._device)
        normal = ((pixels - self._mean) / self._std).to(self._precision, memory_format=torch.channels_last)
        return self._network(normal).flatten(1).float().cpu().numpy()
