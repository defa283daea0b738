"""Any classifier of torchvision by its name, with weights that torchvision downloads or a file of safetensors."""

from pathlib import Path
from typing import Any

import torchvision.models as models
from torch import nn

from pipeline.backbones.network import Network
from pipeline.backbones.weights import digest, fill, read_safetensors
from pipeline.core.errors import DataError
from pipeline.core.text import reason_of


class TorchvisionModel(Network):
    """What the last linear layer of a classifier sees.

    Pictures are normalised as the model's default weights in torchvision want it, those of a file, too.
    """

    def __init__(self, model: str, weights: Path | None) -> None:
        names = models.list_models(module=models)
        if model not in names:
            raise DataError(f"torchvision has no model {model!r}; it has {', '.join(names)}")
        choices: Any = models.get_model_weights(model)
        default = choices.DEFAULT
        network = models.get_model(model, weights=None)
        if weights is None:
            try:
                # A pinned file whose name has its checksum; of pickles only tensors are read.
                tensors = default.get_state_dict(progress=False, check_hash=True, weights_only=True)
            except OSError as error:
                raise DataError(
                    f"the weights of torchvision/{model} must be in torch's cache or come from {default.url}, but "
                    f"{reason_of(error)}; connect once, or give a file as preprocess.features.weights"
                ) from None
        else:
            tensors = read_safetensors(weights)
        fill(network, tensors, str(weights or default.url))
        sha256 = digest(network)
        _drop_last_linear(network, model)
        preset = default.transforms()
        size = preset.crop_size[-1]
        super().__init__(network, (size, size), (preset.mean, preset.std), sha256)


def _drop_last_linear(network: nn.Module, model: str) -> None:
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise DataError(
            f"torchvision/{model} must end in a linear layer, which gives way to features; take another one"
        )
    parent, _, last = linear[-1].rpartition(".")
    setattr(network.get_submodule(parent), last, nn.Identity())
