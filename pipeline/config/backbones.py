"""Every kind of frozen network, one line each: its name in ``preprocess.features.backbone``, its class, what it takes.

A plain table, so that parameters know all kinds without importing torch.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class BackboneKind:
    """What is known of a kind of networks before its module is imported.

    Attributes:
        network: module and class below ``pipeline.backbones``.
        has_models: whether a model is named behind the kind, as in ``timm/resnet50``.
        file: whether ``weights`` names a file: never, always or as one likes.
    """

    network: str
    has_models: bool = False
    file: Literal["never", "always", "either"] = "never"


BACKBONES = {
    "efficientnet_lite0": BackboneKind("efficientnet_lite0.EfficientNetLite0"),
    "timm": BackboneKind("timm_model.TimmModel", has_models=True),
    "torchvision": BackboneKind("torchvision_model.TorchvisionModel", has_models=True, file="either"),
    "onnx": BackboneKind("onnx_file.OnnxFile", file="always"),
}


def require_backbone(name: str, weights: str | None) -> None:
    """Check that a name is that of a backbone, and that a file is given where it takes one.

    Raises:
        ValueError: it is not.
    """
    kind, slash, model = name.partition("/")
    shown = ", ".join(f"{kind}/MODEL" if one.has_models else kind for kind, one in BACKBONES.items())
    if kind not in BACKBONES or bool(slash and model) != BACKBONES[kind].has_models:
        raise ValueError(f"backbone must be one of {shown}, got {name!r}")
    if (BACKBONES[kind].file == "always" and weights is None) or (BACKBONES[kind].file == "never" and weights):
        rule = "needs weights, a file" if weights is None else "brings its own weights (use null)"
        raise ValueError(f"backbone {name} {rule}, got weights {weights!r}")
