"""Any model of timm by its name, with the weights that timm downloads from its hub."""

from pathlib import Path

import timm
from timm.data.config import resolve_model_data_config

from pipeline.backbones.network import Network
from pipeline.backbones.weights import digest
from pipeline.core.errors import DataError
from pipeline.core.text import reason_of


class TimmModel(Network):
    """What the classifier of a model sees, pooled as the model does it."""

    def __init__(self, model: str, weights: Path | None) -> None:
        if not timm.is_model(model):
            raise DataError(
                f"timm {timm.__version__} has no model {model!r}; timm.list_models(pretrained=True) has all"
            )
        try:
            network = timm.create_model(model, pretrained=True, num_classes=0)
        except Exception as error:  # noqa: BLE001 - of its hub's client, of the network, or of files
            raise DataError(
                f"the weights of timm/{model} must be in the hub's cache or be downloaded, but {reason_of(error)}; "
                "connect once, or take a backbone with a file"
            ) from None
        config = resolve_model_data_config(network)
        _, height, width = config["input_size"]
        super().__init__(network, (height, width), (config["mean"], config["std"]), digest(network))
