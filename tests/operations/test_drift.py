"""Drift against scipy's own tests, and on samples whose truth is known."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2_contingency, ks_2samp

from pipeline.config.service import DriftParams
from pipeline.monitoring.drift import (
    MAX_SCORE,
    FacetSample,
    facet_p_value,
    measure_drift,
    occupancy_p_value,
    read_samples,
)
from pipeline.table_format.build import write_assignments
from tests.tables.builders import cycle, make_facet, make_ids

PARAMS = DriftParams(false_alarm_rate=0.05, min_images=50)
SHARES = np.array([0.5, 0.3, 0.15, 0.03, 0.02])


def _sample(generator: np.random.Generator, n_images: int, shares: np.ndarray = SHARES, mean: float = 0) -> FacetSample:
    return FacetSample(
        generator.choice(len(shares), n_images, p=shares).astype(np.int32),
        generator.normal(mean, 1, n_images).astype(np.float32),
    )


def test_occupancy_is_pearsons_test_with_rare_components_counted_together() -> None:
    counts = np.array([[500, 300, 150, 20, 12, 6, 0], [60, 20, 15, 3, 1, 0, 0]])
    merged = np.array([[500, 300, 150, 38], [60, 20, 15, 4]])
    _, expected, _, _ = chi2_contingency(merged, correction=False)
    assert occupancy_p_value(counts) == pytest.approx(expected, rel=1e-9)
    assert occupancy_p_value(counts[::-1]) == pytest.approx(expected, rel=1e-9)


def test_occupancy_of_one_component_says_nothing() -> None:
    assert occupancy_p_value(np.array([[80, 0], [60, 0]])) == 1.0


def test_a_facet_takes_the_smaller_of_two_p_values_twice() -> None:
    generator = np.random.default_rng(0)
    reference, batch = _sample(generator, 500), _sample(generator, 100, mean=0.3)
    typicality = float(tuple(ks_2samp(reference.typicality, batch.typicality))[1])
    assert facet_p_value(reference, batch) == pytest.approx(2 * typicality, rel=0.1)
    same = FacetSample(reference.cluster_id, reference.typicality)
    assert facet_p_value(reference, same) == 1.0


@pytest.mark.parametrize(("n_reference", "n_batch"), [(400, 60), (400, 2000)])
def test_an_unshifted_batch_is_flagged_at_the_rate_set(n_reference: int, n_batch: int) -> None:
    generator = np.random.default_rng(1)
    n_trials = 120
    flags = 0
    for _ in range(n_trials):
        reference = [_sample(generator, n_reference) for _ in range(2)]
        found = measure_drift(reference, [_sample(generator, n_batch) for _ in range(2)], PARAMS)
        assert found is not None
        flags += found.drifted
    standard_error = np.sqrt(PARAMS.false_alarm_rate * (1 - PARAMS.false_alarm_rate) / n_trials)
    assert 0 < flags / n_trials < PARAMS.false_alarm_rate + 3 * standard_error


@pytest.mark.parametrize("kind", ["typicality", "occupancy"])
def test_a_shift_of_one_facet_shows_in_its_score_alone(kind: str) -> None:
    generator = np.random.default_rng(2)
    reference = [_sample(generator, 1000) for _ in range(3)]
    batch = [_sample(generator, 300) for _ in range(3)]
    batch[1] = _sample(generator, 300, mean=-1) if kind == "typicality" else _sample(generator, 300, SHARES[::-1])
    found = measure_drift(reference, batch, PARAMS)
    assert found is not None
    assert found.drifted
    assert found.scores[1] > 20
    assert max(found.scores[0], found.scores[2]) < 2


def test_a_hopeless_batch_has_the_largest_score_and_a_rate_of_zero_flags_nothing() -> None:
    generator = np.random.default_rng(3)
    reference, batch = [_sample(generator, 20_000)], [_sample(generator, 20_000, mean=9)]
    found = measure_drift(reference, batch, DriftParams(0.0, 50))
    assert found is not None
    assert found.scores == (MAX_SCORE,)
    assert not found.drifted


def test_too_few_images_are_not_measured() -> None:
    generator = np.random.default_rng(4)
    few, enough = [_sample(generator, 49)], [_sample(generator, 50)]
    assert measure_drift(enough, few, PARAMS) is None
    assert measure_drift(few, enough, PARAMS) is None
    assert measure_drift(enough, enough, PARAMS) is not None


def test_samples_are_read_from_assignment_files(tmp_path: Path) -> None:
    facets = [make_facet(cycle(30, n_components)) for n_components in (4, 3)]
    with write_assignments(tmp_path / "a", batch_id="test", model_version="m-aaaaaaaaaaaa", n_facets=2) as writer:
        writer.write(make_ids(30), facets)
    for found, expected in zip(read_samples(tmp_path / "a", 2), facets, strict=True):
        np.testing.assert_array_equal(found.cluster_id, expected.cluster_id)
        np.testing.assert_array_equal(found.typicality, expected.typicality)
