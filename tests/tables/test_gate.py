import math
from typing import Any

import pytest

from pipeline.config.service import GateParams
from pipeline.monitoring.gate import unhealthy
from tests.tables.builders import healthy_seed

GATE = GateParams(min_occupied=0.5, max_share=0.6, min_entropy=0.5, min_active_units=1, min_confidence=0.4)


def model(**facet: Any) -> dict[str, Any]:
    """Return a model of two facets with 4 and 3 components whose facet 1 is as given."""
    seeds: list[dict[str, Any]] = [healthy_seed(0, 2), healthy_seed(1, 2)]
    seeds[1]["facets"][1] |= facet
    return {"selected_seed": 1, "seeds": seeds, "model": {"n_components": [4, 3]}}


def test_healthy_model_passes():
    assert unhealthy(model(), GATE, 2) == []


@pytest.mark.parametrize(
    ("facet", "reason"),
    [
        ({"occupied": 1}, r"facet 1: share of occupied components must be at least 0.5 .*min_occupied.*, got 0.333"),
        ({"max_share": 0.99}, r"facet 1: share of images in the largest cluster must be at most 0.6 .*, got 0.99"),
        ({"entropy": 0.1}, r"facet 1: entropy of the cluster sizes over log K must be at least 0.5 .*, got 0.1"),
        ({"active_units": 0}, r"facet 1: active latent dimensions must be at least 1 .*, got 0"),
        ({"confidence": 0.3}, r"facet 1: mean confidence must be at least 0.4 .*, got 0.3"),
        ({"confidence": math.nan}, r"facet 1: mean confidence must be at least 0.4 .*, got nan"),
        ({"max_share": None}, r"facet 1: share of images in the largest cluster .*, got nothing"),
    ],
)
def test_each_limit_is_named_with_facet_value_and_key(facet, reason):
    (found,) = unhealthy(model(**facet), GATE, 1)
    import re

    assert re.fullmatch(reason, found)


def test_limits_themselves_pass():
    facet = {"occupied": 1.5, "max_share": 0.6, "entropy": 0.5, "active_units": 1, "confidence": 0.4}
    assert unhealthy(model(**facet), GATE, 1) == []


def test_only_the_selected_seed_must_pass_the_limits():
    described = model(entropy=0.0)
    assert unhealthy({**described, "selected_seed": 0}, GATE, 1) == []


def test_one_component_has_no_entropy_to_lose():
    described = model(entropy=0.0, max_share=1.0, occupied=1)
    described["model"]["n_components"] = [4, 1]
    assert unhealthy(described, GATE, 1) == []


def test_too_few_healthy_seeds():
    described = model()
    described["seeds"][0] |= {"healthy": False, "reason": "loss was nan"}
    assert unhealthy(described, GATE, 2) == ["healthy seeds must be at least 2, got 1"]


def test_selected_seed_must_be_healthy_and_finite():
    described = model()
    described["seeds"][1] |= {"healthy": False, "reason": "loss was nan", "validation_elbo": None}
    reasons = unhealthy(described, GATE, 1)
    assert reasons == [
        "the selected seed 1 must be healthy, but: loss was nan",
        "the bound (ELBO) must be finite, got None",
    ]


def test_selected_seed_must_exist():
    assert unhealthy({**model(), "selected_seed": 7}, GATE, 1) == [
        "the selected seed must be among the trained ones, got 7"
    ]
