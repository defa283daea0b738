"""Model files: one safetensors file a seed, and ``model.json`` that says what they are."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from pipeline.config.parse import parse
from pipeline.config.sections import ModelParams
from pipeline.core.errors import ConfigError, ModelError
from pipeline.core.storage import atomic_file, read_json
from pipeline.core.upgrades import upgrade_model
from pipeline.datasets.store.spec import read_spec
from pipeline.model.mfcvae import MultiFacetVae

INIT_SCHEMA = 2
"""Of ``init.json``, which stage init_mog leaves for stage train alone."""


def weights_path(folder: Path, seed: int) -> Path:
    """Return where a seed's weights lie in a stage's output folder."""
    return folder / f"seed-{seed}.safetensors"


def seed_state(model: MultiFacetVae, index: int) -> dict[str, Tensor]:
    """Return a copy of the parameters and buffers of one model of the seed axis, without that axis, on the CPU."""
    return {name: value[index].detach().to("cpu", copy=True) for name, value in model.state_dict().items()}


def save_weights(path: Path, state: dict[str, Tensor]) -> None:
    """Write one seed's state atomically.

    Raises:
        ResourceError: the folder cannot be written or the disk is full; ``path`` is untouched.
    """
    with atomic_file(path) as temporary:
        # Not by the library's own writer, whose faults of the disk are no OSError.
        temporary.write_bytes(save(state))


def load_weights(
    model: MultiFacetVae, index: int, path: Path, identity: tuple[str, Mapping[str, Any]] | None = None
) -> None:
    """Copy a weights file into one model of the seed axis.

    Args:
        model: to fill.
        index: of the seed axis.
        path: of the file.
        identity: version of the model that the file must hold, and the model section that it was named by; None takes
            any.

    Raises:
        ModelError: the file is missing, damaged, or of another architecture or model.
    """
    try:
        state = load_file(path)
    except (FileNotFoundError, SafetensorError) as error:
        raise ModelError(
            f"{path} must be a weights file, but {error}; run the stage that writes it again, or facets check --repair"
        ) from None
    own = model.state_dict()
    expected = {name: tuple(value.shape[1:]) for name, value in own.items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    if expected != found:
        odd = sorted(name for name in expected | found if expected.get(name) != found.get(name))[0]
        raise ModelError(
            f"{path} must hold the model of params.yaml, but {odd} is {found.get(odd)} instead of {expected.get(odd)}; "
            "it was trained with other parameters, rebuild the experiment"
        )
    # One flipped bit leaves a file that loads, and a model that assigns otherwise.
    if identity is not None and model_version(state, identity[1]) != identity[0]:
        raise ModelError(
            f"{path} must hold the weights of model {identity[0]}, but they or its model section were changed or "
            "damaged; run facets check --repair"
        )
    with torch.no_grad():
        for name, value in own.items():
            value[index].copy_(state[name])


def model_version(state: dict[str, Tensor], section: ModelParams | Mapping[str, Any]) -> str:
    """Return ``m-`` and 12 hex digits of the weights and the model section.

    Args:
        state: of the selected seed.
        section: as the release that trained the model had it: in a later form it would give another name.
    """
    stated = asdict(section) if isinstance(section, ModelParams) else section
    digest = hashlib.sha256(json.dumps(stated, sort_keys=True).encode())
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].numpy().tobytes())
    return "m-" + digest.hexdigest()[:12]


def restore_model(folder: Path, seed: int | None) -> tuple[MultiFacetVae, dict[str, Any]]:
    """Return a single-seed model and its description from a model folder.

    Args:
        folder: output of stage train, or its published copy.
        seed: which seed; ``None`` takes the selected one.

    Raises:
        DataError: ``model.json`` is missing or damaged.
        ModelError: unknown seed, damaged or foreign weights.
        ResourceError: a newer release wrote ``model.json``.
    """
    stored = read_json(folder / "model.json")
    description = upgrade_model(stored, str(folder / "model.json"))
    seeds = [record["seed"] for record in description["seeds"]]
    chosen: int = description["selected_seed"] if seed is None else seed
    if chosen not in seeds:
        raise ModelError(f"seed {chosen} must be one of {seeds} in {folder}")
    try:
        params, spec = parse(ModelParams, description["model"], "model"), read_spec(description.get("input"))
    except ConfigError as error:
        raise ModelError(f"{folder / 'model.json'} holds no model section of this version: {error}") from None
    model = MultiFacetVae(params, spec)
    identity = description["model_version"], stored["model"]
    is_selected = chosen == description["selected_seed"]
    load_weights(model, 0, weights_path(folder, chosen), identity if is_selected else None)
    return model, description
