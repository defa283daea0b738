"""An estimator as one file: weights as safetensors, everything else as JSON in its header. Nothing is unpickled."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from sklearn.utils.validation import check_is_fitted

from pipeline.config.parse import parse
from pipeline.config.sections import ModelParams
from pipeline.core.errors import ConfigError, DataError, ModelError
from pipeline.core.storage import atomic_file
from pipeline.core.upgrades import ESTIMATOR, PARAMETERS
from pipeline.estimator.pixels import PixelScale
from pipeline.estimator.selected import freeze
from pipeline.estimator.settings import plain
from pipeline.model.checkpoint import seed_state
from pipeline.training import SeedOutcome

Fitted = TypeVar("Fitted", bound="SaveMixin")

_RECORD = "estimator"
_WEIGHTS = "weights."
_AS_THEY_ARE = ("n_features_in_", "elbo_", "history_")  # attributes that are JSON


class SaveMixin:
    """Saving and loading of a fitted estimator, for releases to come as well."""

    def save(self, path: Path | str) -> None:
        """Write a fitted estimator into one file, in place of one that is there.

        Args:
            path: of the file, by custom with the ending ``.safetensors``.

        Raises:
            NotFittedError: it was not trained.
            ValueError: ``random_state`` is a generator, which a file cannot hold.
            ResourceError: the file cannot be written.
        """
        check_is_fitted(self)
        estimator: Any = self
        parameters = plain(estimator.get_params())
        if not isinstance(parameters["random_state"], int | None):
            raise ValueError(
                f"random_state must be None or a number to be saved, got {parameters['random_state']!r}; "
                "use set_params(random_state=None)"
            )
        record = {
            "parameters": parameters,
            "attributes": {name: getattr(estimator, name) for name in _AS_THEY_ARE},
            "feature_names": list(getattr(estimator, "feature_names_in_", [])),
            "outcomes": [outcome.describe() for outcome in estimator.outcomes_],
            "pixels": asdict(estimator._pixels),
            "trained": PARAMETERS.stamp({"model": asdict(estimator.model_.params)}),
            "version": estimator.model_.model_version,
        }
        state = seed_state(estimator.model_.vae, 0)
        # Trained in single precision, used in double.
        tensors = {_WEIGHTS + name: value.float().contiguous() for name, value in state.items()}
        tensors["labels"] = torch.from_numpy(np.ascontiguousarray(estimator.labels_))
        with atomic_file(Path(path)) as temporary:
            temporary.write_bytes(save(tensors, {_RECORD: json.dumps(ESTIMATOR.stamp(record))}))

    @classmethod
    def load(cls: type[Fitted], path: Path | str) -> Fitted:
        """Read what :meth:`save` wrote.

        Raises:
            ModelError: the file is missing, damaged or another one.
            ResourceError: a newer release wrote it.
        """
        try:
            with safe_open(path, "pt") as file:
                text = (file.metadata() or {}).get(_RECORD)
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            if text is None:
                raise ValueError("it holds no record of an estimator")
            return cls._of(ESTIMATOR.upgrade(json.loads(text), str(path)), tensors)
        except (
            OSError,
            SafetensorError,
            ValueError,
            KeyError,
            TypeError,
            RuntimeError,
            ConfigError,
            DataError,
        ) as error:
            raise ModelError(
                f"{path} must be a file that MultiFacetClustering.save wrote, but {error}; save the model again"
            ) from None

    @classmethod
    def _of(cls: type[Fitted], record: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Fitted:
        estimator: Any = cls(**_with_tuples(record["parameters"]))
        for name in _AS_THEY_ARE:
            setattr(estimator, name, record["attributes"][name])
        if record["feature_names"]:
            estimator.feature_names_in_ = np.array(record["feature_names"], dtype=object)
        estimator.outcomes_ = tuple(map(SeedOutcome.from_description, record["outcomes"]))
        estimator.labels_ = tensors["labels"].numpy()
        estimator._pixels = PixelScale(**_with_tuples(record["pixels"]))
        params = parse(ModelParams, PARAMETERS.upgrade(record["trained"], "trained")["model"], "model")
        state = {name.removeprefix(_WEIGHTS): value for name, value in tensors.items() if name.startswith(_WEIGHTS)}
        estimator.model_ = freeze(state, params, estimator._pixels.spec, record["version"])
        return estimator


def _with_tuples(value: Any) -> Any:
    """Return what JSON made of parameters as they were: its lists were tuples."""
    if isinstance(value, dict):
        return {key: _with_tuples(one) for key, one in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value
