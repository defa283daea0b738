"""From an estimator's parameters to the sections that the library is configured by."""

import re
from collections.abc import Mapping
from numbers import Integral
from typing import Any, TypeVar

import numpy as np

from pipeline.config.ignores import require_entries
from pipeline.config.ladders import LADDERS
from pipeline.config.parse import parse
from pipeline.config.resolve import preset_values
from pipeline.config.sections import InitMogParams, ModelParams, TrainParams
from pipeline.core.errors import ConfigError
from pipeline.datasets.store.spec import InputSpec
from pipeline.views import check_ignored

Section = TypeVar("Section", ModelParams, InitMogParams, TrainParams)

_SHARED = ((256, 512),)  # where `hidden` is left open and all facets share a block

_MODEL_NAMES = ("family", "latent_dims", "likelihood", "sigma")
_TRAIN_NAMES = (
    "batch_size",
    "learning_rate",
    "mixture_rate",
    "validation_fraction",
    "ignores",
    "view_weight",
    "device",
)
_OWN_NAMES = re.compile(r"\.(?:phases\[\d+\]|hints)\.(\w+)")
"""Keys of sections that stand below another one, where the estimator has a parameter of its own."""
_RENAMED = {".hints.weight": "hint_weight"}
_LAST_REFIT = 0.5  # part of the last phase: the newcomer is in by then, and half of the phase is left


def model_section(parameters: Mapping[str, Any]) -> ModelParams:
    """Return the model section that an estimator's parameters ask for.

    Raises:
        ValueError: a parameter breaks a rule.
    """
    return _section(
        ModelParams,
        _usual("model", parameters)
        | {name: parameters[name] for name in _MODEL_NAMES}
        | {
            "n_components": _of_each_facet("n_components", Integral, parameters),
            "covariance": _of_each_facet("covariance", str, parameters),
            "hidden": _widths(parameters),
        },
    )


def init_section(parameters: Mapping[str, Any]) -> InitMogParams:
    """Return how mixtures start: as in all experiments, but for the components' deviation.

    Raises:
        ValueError: a parameter breaks a rule.
    """
    return _section(InitMogParams, _usual("init_mog", parameters) | {"component_std": parameters["component_std"]})


def train_section(parameters: Mapping[str, Any]) -> TrainParams:
    """Return the train section that an estimator's parameters ask for.

    Raises:
        ValueError: a parameter breaks a rule.
    """
    n_phases = _n_facets(parameters)
    phase = {"epochs": parameters["epochs"], "fade_in": parameters["fade_in"]}
    refits = [*([1.0] * (n_phases - 1)), _LAST_REFIT] if parameters["refit"] else [0.0] * n_phases
    usual = _usual("train", parameters)
    return _section(
        TrainParams,
        usual
        | {name: parameters[name] for name in _TRAIN_NAMES}
        | {
            "phases": [{**phase, "refit_at": refit_at} for refit_at in refits],
            "hints": {**usual["hints"], "weight": parameters["hint_weight"]},
            "precision": "float32",  # small products gain nothing from less
        },
    )


def check_sizes(model: ModelParams, n_images: int, validation_fraction: float, sample_shape: tuple[int, ...]) -> None:
    """Refuse a model that the training array is too small for, or of another kind.

    Raises:
        ValueError: more components than images to train on, rows of features for convolutions, or images for
            a ladder over rows.
    """
    most, n_trained_on = max(model.n_components), n_images - int(n_images * validation_fraction)
    if n_trained_on < most:
        raise ValueError(
            f"n_components must be at most the number of images trained on, got {most} for {n_trained_on} "
            f"(n_samples={n_images}, validation_fraction={validation_fraction}); lower it or add images"
        )
    if LADDERS[model.family].takes_rows and len(sample_shape) > 1:
        raise ValueError(
            f"family {model.family} needs rows of features (n, features), got samples of shape {sample_shape}; "
            "use family='dense' for images"
        )
    if model.family == "convolutional" and len(sample_shape) == 1:
        raise ValueError(
            f"family convolutional needs images (n, height, width[, channel]), got {sample_shape[0]} features; "
            "reshape X or use family='dense'"
        )


def check_views(train: TrainParams, n_facets: int, spec: InputSpec) -> None:
    """Refuse what facets cannot ignore.

    Raises:
        ValueError: entries and facets differ in number, or inputs do not have what a facet is to ignore.
    """
    try:
        require_entries(train.ignores, n_facets)
        check_ignored(train.ignores, spec)
    except (ConfigError, ValueError) as error:
        raise ValueError(str(error).removeprefix("train.")) from None


def _widths(parameters: Mapping[str, Any]) -> Any:
    if parameters["hidden"] is not None:
        return parameters["hidden"]
    kind = LADDERS.get(parameters["family"])
    if kind is None or kind.is_shared:  # of an unknown family, what follows says so
        return _SHARED
    narrowest, widest = kind.widths
    return [[min(narrowest * 2**j, widest)] for j in range(_n_facets(parameters))]


def _n_facets(parameters: Mapping[str, Any]) -> int:
    dims = plain(parameters["latent_dims"])
    if not isinstance(dims, list):
        raise ValueError(f"latent_dims must be a list with one number a facet, got {dims!r}")
    return len(dims)


def _of_each_facet(name: str, one: type, parameters: Mapping[str, Any]) -> Any:
    """Return a parameter's value for each facet, where one may stand for all."""
    given = parameters[name]
    return [given] * _n_facets(parameters) if isinstance(given, one) else given


def _usual(section: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what experiments on such inputs have in a section where nobody says otherwise."""
    kind = LADDERS.get(parameters["family"])
    return preset_values("directions" if kind is not None and kind.takes_rows else "standard")[section]


def _section(kind: type[Section], values: dict[str, Any]) -> Section:
    try:
        return parse(kind, plain(values), "MultiFacetClustering")
    except ConfigError as error:
        text = str(error).partition(" (YAML")[0]  # a hint for those who write params.yaml
        raise ValueError(_OWN_NAMES.sub(lambda found: f".{_RENAMED.get(found[0], found[1])}", text)) from None


def plain(value: Any) -> Any:
    """Turn numpy's numbers and arrays, which searches over parameters pass, into Python's own."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
