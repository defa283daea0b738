"""Whether a trained model is healthy enough to replace the one in service."""

import math
from collections.abc import Mapping
from typing import Any

from pipeline.config import service


def unhealthy(model: Mapping[str, Any], gate: service.GateParams, min_healthy_seeds: int) -> list[str]:
    """Return why a model must not be published, one reason a line; nothing if it may be.

    Args:
        model: content of ``model.json``.
        gate: limits that hold for every facet.
        min_healthy_seeds: how many seeds must have trained without a fault.
    """
    n_healthy = sum(bool(seed["healthy"]) for seed in model["seeds"])
    reasons: list[str] = []
    if n_healthy < min_healthy_seeds:
        reasons.append(f"healthy seeds must be at least {min_healthy_seeds}, got {n_healthy}")
    selected = next((seed for seed in model["seeds"] if seed["seed"] == model["selected_seed"]), None)
    if selected is None:
        return [*reasons, f"the selected seed must be among the trained ones, got {model['selected_seed']}"]
    if not selected["healthy"]:
        reasons.append(f"the selected seed {selected['seed']} must be healthy, but: {selected['reason']}")
    if not _is_finite(selected["validation_elbo"]):
        reasons.append(f"the bound (ELBO) must be finite, got {selected['validation_elbo']}")
    for facet, (n_components, found) in enumerate(zip(model["model"]["n_components"], selected["facets"], strict=True)):
        reasons += [f"facet {facet}: {reason}" for reason in _facet_reasons(found, n_components, gate)]
    return reasons


def _facet_reasons(found: Mapping[str, Any], n_components: int, gate: service.GateParams) -> list[str]:
    minima = {
        "min_occupied": ("share of occupied components", found["occupied"] / n_components),
        "min_entropy": ("entropy of the cluster sizes over log K", found["entropy"]),
        "min_active_units": ("active latent dimensions", found["active_units"]),
        "min_confidence": ("mean confidence", found["confidence"]),
    }
    reasons = [
        f"{what} must be at least {getattr(gate, key)} (publish.gate.{key}), got {_shown(value)}"
        for key, (what, value) in minima.items()
        # Not `value < limit`, which is false for NaN. The entropy of a facet of one component says nothing.
        if not (value is not None and value >= getattr(gate, key)) and not (key == "min_entropy" and n_components == 1)
    ]
    share = found["max_share"]
    if n_components > 1 and not (share is not None and share <= gate.max_share):
        reasons.append(
            f"share of images in the largest cluster must be at most {gate.max_share} (publish.gate.max_share), "
            f"got {_shown(share)}"
        )
    return reasons


def _is_finite(value: float | int | None) -> bool:
    return value is not None and math.isfinite(value)


def _shown(value: float | int | None) -> str:
    return "nothing" if value is None else f"{value:.3g}"
