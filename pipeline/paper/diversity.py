"""How different from each other images are: real ones and generated ones (paper, appendix E.6 and table 7).

The paper reports LPIPS, the distance in the features of a network trained on photographs (Zhang et al., 2018). Its
backbone's weights are a download of their own, so two distances that need none stand beside it: root mean square
difference of pixels, and distance in the model's own latents in units of their spread over real images. Like LPIPS they
are only comparable between rows of one table, and larger is only better while samples look like the data.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from pipeline.core.errors import ResourceError
from pipeline.core.seeding import numpy_generator
from pipeline.core.shapes import Inputs
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.spec import InputSpec
from pipeline.evaluation.clusters import image_blocks, take_images
from pipeline.model import FrozenModel
from pipeline.model.inputs import as_floats

Distance = Callable[[Inputs, Inputs], Tensor]
"""Distances of paired images: two batches in, one number a pair out."""

_BLOCK = 256
_BACKBONES = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}  # names in torchmetrics and torchvision
_SMALLEST_SIDE = 64  # the backbones' poolings need more pixels than 28 or 32


@dataclass(frozen=True)
class Diversity:
    """Mean distance of random pairs, and its standard error."""

    mean: float
    standard_error: float
    n_pairs: int


def diversity(pairs: Iterator[tuple[Inputs, Inputs]], distance: Distance) -> Diversity:
    """Average a distance over pairs of images that arrive in blocks."""
    distances = np.concatenate([distance(first, second).double().cpu().numpy() for first, second in pairs])
    n_pairs = len(distances)
    error = float(distances.std(ddof=1) / np.sqrt(n_pairs)) if n_pairs > 1 else 0.0
    return Diversity(float(distances.mean()), error, n_pairs)


def real_pairs(store: ImageStore, n_pairs: int) -> Iterator[tuple[Inputs, Inputs]]:
    """Yield random pairs of two different images of a store, drawn with a fixed seed."""
    rng = numpy_generator(0, "diversity")
    for start in range(0, n_pairs, _BLOCK):
        n_block = min(_BLOCK, n_pairs - start)
        first = rng.integers(0, store.n_images, n_block)
        second = (first + rng.integers(1, store.n_images, n_block)) % store.n_images
        yield take_images(store, first), take_images(store, second)


def consecutive_pairs(blocks: Iterator[Inputs]) -> Iterator[tuple[Inputs, Inputs]]:
    """Yield pairs of neighbours of independent samples; each sample is in one pair."""
    for images in blocks:
        for start in range(0, len(images) - 1, 2 * _BLOCK):
            part = images[start : start + 2 * _BLOCK]
            half = len(part) // 2
            yield part[:half], part[half : 2 * half]


def pixel_distance(spec: InputSpec) -> Distance:
    """Return the root mean square difference of pixels in [0, 1]."""

    def distance(first: Inputs, second: Inputs) -> Float[Tensor, " batch"]:
        difference = as_floats(spec, first, torch.float32) - as_floats(spec, second, torch.float32)
        return difference.flatten(1).square().mean(1).sqrt()

    return distance


def latent_distance(model: FrozenModel, reference: ImageStore) -> Distance:
    """Return the distance of posterior means, all facets side by side, in units of their spread over real images.

    Args:
        model: whose latents.
        reference: real images; a latent dimension that does not vary over them is left out.
    """
    means = np.concatenate([_means(model, images) for _, images in image_blocks(reference)])
    spread = means.std(axis=0)
    scale = torch.from_numpy(np.divide(1, spread, out=np.zeros_like(spread), where=spread > 1e-6))

    def distance(first: Inputs, second: Inputs) -> Float[Tensor, " batch"]:
        difference = torch.from_numpy(_means(model, first) - _means(model, second)) * scale
        return difference.square().sum(1).sqrt()

    return distance


def lpips_distance(spec: InputSpec, net: Literal["alex", "vgg", "squeeze"] = "alex") -> Distance:
    """Return LPIPS by torchmetrics, on images enlarged to at least 64 pixels a side, grey ones repeated to RGB.

    Args:
        spec: what the images are.
        net: backbone, ``alex`` as in the metric's reference program, ``vgg`` or ``squeeze``.

    Raises:
        ResourceError: torchmetrics is not installed, or the backbone's weights are not where torch looks for them.
    """
    from torchvision.models import get_model_weights  # seldom asked for, and slow to import

    backbone: Any = get_model_weights(_BACKBONES[net])
    weights = Path(torch.hub.get_dir()) / "checkpoints" / Path(backbone.DEFAULT.url).name
    if not weights.is_file():
        home = Path.home()  # results are passed on, and paths in a home folder mean nothing elsewhere
        shown = Path("~", weights.relative_to(home)) if weights.is_relative_to(home) else weights
        raise ResourceError(
            f"LPIPS needs the weights of its backbone, but {shown} is missing; "
            f"put torchvision's {weights.name} there, or read the pixel and latent distances instead"
        )
    try:
        library: Any = import_module("torchmetrics.image.lpip")
    except ImportError:
        raise ResourceError(
            "LPIPS needs torchmetrics, which is not installed; run pip install facet-pipeline[perceptual]"
        ) from None
    metric = library.LearnedPerceptualImagePatchSimilarity(net_type=net)

    def distance(first: Inputs, second: Inputs) -> Float[Tensor, " batch"]:
        with torch.no_grad():
            return metric.net(_as_photograph(spec, first), _as_photograph(spec, second), normalize=True).flatten()

    return distance


def _as_photograph(spec: InputSpec, images: Inputs) -> Float[Tensor, "batch 3 high wide"]:
    pixels = as_floats(spec, images, torch.float32).expand(-1, 3, -1, -1)
    factor = max(1.0, _SMALLEST_SIDE / min(pixels.shape[2:]))
    return torch.nn.functional.interpolate(
        pixels, scale_factor=factor, mode="bilinear", align_corners=False, antialias=False
    ).clamp(0, 1)


def _means(model: FrozenModel, images: Inputs) -> Float32[np.ndarray, "batch latent"]:
    return torch.cat([qz.mean.float() for qz in model.encode(images)], dim=1).cpu().numpy()
