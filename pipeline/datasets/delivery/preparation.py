"""How a published model wants images prepared: as those that it was trained on, whatever params.yaml says today."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from pipeline.config.parse import parse
from pipeline.config.sections import Experiment
from pipeline.core.errors import DataError
from pipeline.core.folder_seal import require_sealed
from pipeline.core.upgrades import PARAMETERS, read_model_file, read_record
from pipeline.datasets.store.spec import read_spec

if TYPE_CHECKING:
    from pipeline.datasets.decoding.transform import ImageTransform


def model_section(model: Path, name: str) -> Any:
    """Return one section of the parameters that a published model was made with, in the form of today.

    Raises:
        ConfigError: this section is missing or has other keys.
        ResourceError: a newer release published the model.
    """
    require_sealed(model, ["params.json"])
    section = read_record(model / "params.json", PARAMETERS).get(name)
    return parse(get_type_hints(Experiment)[name], section, f"{model.name}/params.json: {name}")


def model_transform(model: Path) -> "ImageTransform":
    """Return what brings images of any size to the shape that a published model takes.

    Raises:
        DataError: the model takes no images.
    """
    # Pillow: only where there are images.
    from pipeline.datasets.decoding.transform import ImageTransform

    require_sealed(model, ["model.json"])
    spec = read_spec(read_model_file(model)["input"])
    if spec.kind != "pixels":
        raise DataError(f"a delivery of images needs a model of pixels, but {model.name} takes {spec}")
    return ImageTransform.for_model(model_section(model, "preprocess"), spec.shape)
