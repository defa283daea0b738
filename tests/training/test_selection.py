import ast
import inspect
from dataclasses import replace
from pathlib import Path

import pytest

import pipeline.training
from pipeline.core.errors import ModelError
from pipeline.training.health import FacetHealth
from pipeline.training.selection import SeedOutcome, collapse_reason, select_seed

GOOD = FacetHealth(occupied=20, max_share=0.2, entropy=0.9, active_units=3, confidence=0.8, certainty=0.7)


def outcome(seed, elbo, reason=None, certainty=0.7):
    return SeedOutcome(seed, reason, elbo, 10, (GOOD, replace(GOOD, certainty=certainty)))


def test_the_healthy_seed_that_leaves_least_doubt_is_taken():
    """Though another one explains the images better: drawings of two hues in one cluster had the highest bound."""
    outcomes = [
        outcome(0, -101.0, certainty=0.8),
        outcome(1, -120.0, certainty=0.9),
        outcome(2, -50.0, "facet 0 collapsed", certainty=0.99),
        outcome(3, -90.0, certainty=0.6),
    ]
    assert select_seed(outcomes, 3).seed == 1


@pytest.mark.parametrize(
    ("certainties", "doubt"),
    [
        ((0.9,), 0.1),
        ((0.6, 0.9), (0.1 * 0.4**0.5) ** (1 / 1.5)),
        ((0.6, 0.7, 0.9), (0.1 * 0.3**0.5 * 0.4**0.25) ** (1 / 1.75)),
        ((1.0, 1.0), 1e-3),
    ],
)
def test_a_shallower_facet_counts_half_as_much_as_the_next_deeper_one(certainties, doubt):
    facets = tuple(replace(GOOD, certainty=value) for value in certainties)
    assert SeedOutcome(0, None, -1.0, 10, facets).doubt == pytest.approx(doubt)


def test_seeds_are_compared_by_ratios_of_doubt():
    """A deep facet that is certain in all seeds leaves the choice to the shallow one, and any other does not."""
    unclear, clear = replace(GOOD, certainty=0.6), replace(GOOD, certainty=0.9)

    def pick(*deep):
        facets = zip((unclear, clear), (replace(GOOD, certainty=value) for value in deep), strict=True)
        return select_seed([SeedOutcome(n, None, -1.0, 10, both) for n, both in enumerate(facets)], 1).seed

    assert (pick(0.98, 0.97), pick(0.9, 0.7)) == (1, 0)


def test_of_seeds_that_are_equally_certain_the_one_with_the_highest_bound_is_taken():
    outcomes = [outcome(0, -101.0), outcome(1, -99.5), outcome(2, -50.0, "facet 0 collapsed"), outcome(3, -100.0)]
    assert select_seed(outcomes, 3).seed == 1


def test_too_few_healthy_seeds_are_refused_with_every_reason():
    outcomes = [
        outcome(0, -1.0),
        outcome(4, None, "log p(x | z) was not finite"),
        outcome(5, -2.0, "facet 1 collapsed"),
    ]
    with pytest.raises(
        ModelError,
        match=r"train\.min_healthy_seeds asks for 2 healthy seeds, got 1 \(seed 4: log p\(x \| z\) was not finite; "
        r"seed 5: facet 1 collapsed\); lower the learning rate",
    ):
        select_seed(outcomes, 2)
    assert select_seed(outcomes, 1).seed == 0


def test_a_record_survives_the_json_file():
    for one in (outcome(0, -1.5), SeedOutcome(3, "failed", None, 2, ())):
        assert SeedOutcome.from_description(one.describe()) == one
    assert outcome(0, -1.5).describe()["healthy"]
    assert not outcome(0, -1.5, "why").describe()["healthy"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"active_units": 0}, "facet 1 collapsed: no latent dimension varies with the image"),
        ({"entropy": 0.29}, r"facet 1 collapsed: .* is 0\.29 of log K, less than the 0\.3 of a healthy facet"),
        ({"entropy": 0.3}, None),
    ],
)
def test_collapse(change, reason):
    found = collapse_reason([GOOD, FacetHealth(**{**vars(GOOD), **change})], 0.3)
    if reason is None:
        assert found is None
    else:
        with pytest.raises(ValueError, match=reason):
            raise ValueError(found)


def test_selection_sees_outcomes_alone():
    """Its arguments hold nothing that labels could enter by."""
    assert list(inspect.signature(select_seed).parameters) == ["outcomes", "min_healthy_seeds"]
    assert set(SeedOutcome.__dataclass_fields__) == {"seed", "reason", "validation_elbo", "epochs", "facets"}
    known = {"occupied", "max_share", "entropy", "active_units", "confidence", "certainty"}
    assert set(FacetHealth.__dataclass_fields__) == known


def test_training_cannot_read_labels():
    """Of the datasets it knows the store of images and what one is, which hold none, and nothing of evaluation.

    What people say of a few images on purpose, their hints, it reads from a file of their own.
    """
    imported = set()
    for path in Path(pipeline.training.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
    ours = {name for name in imported if name.startswith("pipeline.")}
    datasets = {name for name in ours if name.startswith("pipeline.datasets")}
    assert {name for name in datasets if not name.startswith("pipeline.datasets.store.hints.")} == {
        "pipeline.datasets.store.images.ImageStore",
        "pipeline.datasets.store.spec.InputSpec",
    }
    assert not [name for name in ours if name.split(".")[1] in ("evaluation", "tables", "assignment", "report")]
