from dataclasses import replace

import numpy as np
import pytest

from pipeline.training import schedule as schedule_module
from pipeline.training.schedule import ProgressiveSchedule
from tests.training.builders import TRAIN, phase

# 40 images in batches of 8: 5 steps an epoch. Phases of 2, 3 and 4 epochs begin at the steps 0, 10 and 25 of 45.
THREE = replace(TRAIN, phases=(phase(2, 0.3), phase(3, 0.4), phase(4, 0.5)), warmup_steps=0)


def three(**changes):
    return ProgressiveSchedule(replace(THREE, **changes), 3, 40)


def test_sizes():
    schedule = three()
    assert (schedule.batch_size, schedule.steps_per_epoch, schedule.n_epochs, schedule.n_steps) == (8, 5, 9, 45)
    ragged = ProgressiveSchedule(THREE, 3, 41)
    assert (ragged.steps_per_epoch, ragged.n_steps) == (6, 54)
    small = ProgressiveSchedule(THREE, 3, 5)
    assert (small.batch_size, small.steps_per_epoch) == (5, 1)


# step: coefficients of the facets 0, 1, 2. The newcomer rises over 0.4 · 15 = 6 and 0.5 · 20 = 10 steps.
FADE_IN = {
    0: (0, 0, 1),
    9: (0, 0, 1),
    10: (0, 0, 1),
    11: (0, 1 / 6, 1),
    15: (0, 5 / 6, 1),
    16: (0, 1, 1),
    24: (0, 1, 1),
    25: (0, 1, 1),
    26: (0.1, 1, 1),
    30: (0.5, 1, 1),
    34: (0.9, 1, 1),
    35: (1, 1, 1),
    44: (1, 1, 1),
}


@pytest.mark.parametrize(("step", "expected"), FADE_IN.items())
def test_fade_in_table(step, expected):
    np.testing.assert_allclose(three().at(step, 1).fade_in, [expected], rtol=1e-12)


def test_fade_in_is_monotone_and_zero_and_one_at_its_ends():
    fade = three().at(0, 45).fade_in
    assert (np.diff(fade, axis=0) >= 0).all()
    assert (fade[0] == (0, 0, 1)).all()
    assert (fade[-1] == 1).all()
    for facet, begin, end in ((1, 10, 16), (0, 25, 35)):
        assert (fade[: begin + 1, facet] == 0).all()
        assert ((fade[begin + 1 : end, facet] > 0) & (fade[begin + 1 : end, facet] < 1)).all()
        assert (fade[end:, facet] == 1).all()


def test_without_a_fade_the_newcomer_counts_in_full_from_its_first_step():
    schedule = three(phases=(phase(2, 0.0), phase(3, 0.0), phase(4, 0.0)))
    assert [schedule.at(step, 1).fade_in[0].tolist() for step in (9, 10, 24, 25)] == [
        [0, 0, 1],
        [0, 1, 1],
        [0, 1, 1],
        [1, 1, 1],
    ]


def test_a_single_phase_trains_all_facets_in_full():
    schedule = three(phases=(phase(4, 0.5),))
    assert (schedule.at(0, 20).fade_in == 1).all()
    assert {chunk.first_facet for chunk in schedule.chunks()} == {0}


def test_the_papers_mnist_schedule():
    """Table 3: 200 + 201 epochs of 118 batches, 15,000 of them fading."""
    schedule = ProgressiveSchedule(
        replace(TRAIN, phases=(phase(200, 0.0), phase(201, 15000 / 23718)), batch_size=512), 2, 60_000
    )
    assert schedule.steps_per_epoch == 118
    fade = schedule.at(200 * 118, 23718).fade_in[:, 0]
    assert np.flatnonzero(fade == 1)[0] == 15000
    assert fade[7500] == pytest.approx(0.5)


def test_legs_cover_every_step_once_and_phases_begin_with_an_epoch():
    chunks = list(three().chunks())
    assert [(chunk.epoch, chunk.phase, chunk.first_facet, chunk.start) for chunk in chunks] == [
        (0, 0, 2, 0),
        (1, 0, 2, 5),
        (2, 1, 1, 10),
        (3, 1, 1, 15),
        (4, 1, 1, 20),
        (5, 2, 0, 25),
        (6, 2, 0, 30),
        (7, 2, 0, 35),
        (8, 2, 0, 40),
    ]
    assert {(chunk.offset, chunk.n_steps, chunk.ends_epoch) for chunk in chunks} == {(0, 5, True)}
    assert [chunk.epoch for chunk in chunks if chunk.refits] == []


@pytest.mark.parametrize(
    ("refits_at", "expected"),
    [((0.0, 0.0, 0.0), []), ((1.0, 1.0, 1.0), [1, 4, 8]), ((1.0, 0.0, 0.5), [1, 6]), ((0.01, 0.4, 0.01), [0, 2, 5])],
)
def test_mixtures_are_fitted_anew_after_whole_epochs_of_a_phase(refits_at, expected, monkeypatch):
    monkeypatch.setattr(schedule_module, "_MAX_CHUNK", 2)
    phases = tuple(replace(one, refit_at=part) for one, part in zip(THREE.phases, refits_at, strict=True))
    chunks = [chunk for chunk in three(phases=phases).chunks() if chunk.refits]
    assert [chunk.epoch for chunk in chunks] == expected
    assert all(chunk.ends_epoch for chunk in chunks)


def test_long_epochs_are_cut_into_legs(monkeypatch):
    monkeypatch.setattr(schedule_module, "_MAX_CHUNK", 2)
    chunks = list(three().chunks())
    assert [(chunk.start, chunk.offset, chunk.n_steps, chunk.ends_epoch) for chunk in chunks[:6]] == [
        (0, 0, 2, False),
        (2, 2, 2, False),
        (4, 4, 1, True),
        (5, 0, 2, False),
        (7, 2, 2, False),
        (9, 4, 1, True),
    ]
    assert [step for chunk in chunks for step in range(chunk.start, chunk.start + chunk.n_steps)] == list(range(45))


def test_rate_table():
    """Warm-up over 4 steps, then constant, one cosine, or one cosine (and warm-up) a phase."""
    step = np.arange(45)
    warm = np.minimum(1, (step + 1) / 4)
    rate = three(warmup_steps=4, decay="constant").at(0, 45).rate
    np.testing.assert_allclose(rate, 0.01 * warm, rtol=1e-12)
    cosine = three(warmup_steps=4, decay="cosine").at(0, 45).rate
    np.testing.assert_allclose(cosine, 0.01 * warm * (1 + np.cos(np.pi * step / 45)) / 2, rtol=1e-12)
    restarts = three(warmup_steps=4, decay="restarts").at(0, 45).rate
    for begin, end in ((0, 10), (10, 25), (25, 45)):
        part = np.arange(end - begin)
        expected = 0.01 * np.minimum(1, (part + 1) / 4) * (1 + np.cos(np.pi * part / (end - begin))) / 2
        np.testing.assert_allclose(restarts[begin:end], expected, rtol=1e-12)
    assert three(warmup_steps=0, decay="constant").at(0, 1).rate == 0.01


def test_kl_weight_table():
    weights = three(kl_weight=0.1, kl_epochs=2).at(0, 45).kl_weight
    assert set(weights[:10]) == {0.1}
    assert set(weights[10:]) == {1.0}
    assert set(three(kl_weight=0.1, kl_epochs=0).at(0, 45).kl_weight) == {1.0}


def test_coefficients_do_not_depend_on_where_a_leg_begins():
    whole = three(warmup_steps=4, kl_weight=0.1, kl_epochs=1).at(0, 45)
    part = three(warmup_steps=4, kl_weight=0.1, kl_epochs=1).at(7, 9)
    for name in ("rate", "kl_weight", "fade_in"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[7:16])
