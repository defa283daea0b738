"""How a published model wants images prepared: as those that it was trained on, whatever params.yaml says today."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from pipeline.config.parse import parse
from pipeline.config.sections import Experiment
from pipeline.core.errors import DataError
from pipeline.core.folder_seal import require_sealed
from pipeline.core.upgrades import PARAMETERS, read_model_file, read_record
from pipeline.datasets.store.spec import InputSpec, read_spec

if TYPE_CHECKING:
    from pipeline.datasets.decoding.transform import ImageTransform
    from pipeline.datasets.delivery.taker import Taker


def model_section(model: Path, name: str) -> Any:
    """Return one section of the parameters that a published model was made with, in the form of today.

    Raises:
        ConfigError: this section is missing or has other keys.
        ResourceError: a newer release published the model.
    """
    require_sealed(model, ["params.json"])
    section = read_record(model / "params.json", PARAMETERS).get(name)
    return parse(get_type_hints(Experiment)[name], section, f"{model.name}/params.json: {name}")


def model_spec(model: Path) -> InputSpec:
    """Return what a published model takes."""
    require_sealed(model, ["model.json"])
    return read_spec(read_model_file(model)["input"])


def stored_transform(model: Path) -> "ImageTransform | None":
    """Return what brings the images of batches to the shape that a published model takes; features need nothing."""
    return model_transform(model) if model_spec(model).kind == "pixels" else None


def model_taker(model: Path, root: Path) -> "Taker":
    """Return what makes of a delivery what a published model takes.

    Args:
        model: folder of the model.
        root: where the path of a backbone's weights starts.

    Raises:
        DataError: the backbone's weights are missing, or not those that the model was trained with.
    """
    from pipeline.backbones.base import open_backbone
    from pipeline.datasets.inputs.embedded import Embedded
    from pipeline.datasets.inputs.plain import GivenRows
    from pipeline.datasets.inputs.prepared import RowKind

    spec = model_spec(model)
    if spec.kind == "pixels":
        return model_transform(model)
    if spec.embedder is None:
        return GivenRows(RowKind(spec))
    params = model_section(model, "preprocess")
    taker = Embedded(params, open_backbone(params.features, root))
    found = taker.kind.spec.embedder
    if found != spec.embedder:
        raise DataError(
            f"new images must go through {spec.embedder}, by whose features {model.name} was trained, got {found}; put "
            "the weights back"
        )
    return taker


def model_transform(model: Path) -> "ImageTransform":
    """Return what brings images of any size to the shape that a published model takes.

    Raises:
        DataError: the model takes no images.
    """
    # Pillow: only where there are images.
    from pipeline.datasets.decoding.transform import ImageTransform

    spec = model_spec(model)
    if spec.kind != "pixels":
        raise DataError(f"a delivery of images needs a model of pixels, but {model.name} takes {spec}")
    return ImageTransform.for_model(model_section(model, "preprocess"), spec.shape)
