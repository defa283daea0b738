"""Which setting is proposed of black and white images, without labels; and what is tried where one collapses."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config import load_params
from pipeline.config.parse import parse
from pipeline.config.resolve import preset_values
from pipeline.config.sections import Experiment, ModelParams, TrainParams
from pipeline.onboarding import ladder, trial
from pipeline.onboarding.duration import predict_seconds, shown_minutes
from pipeline.onboarding.ladder import Trials, fallbacks, fewer_facets, find_setting
from pipeline.onboarding.settings import Setting, first_setting, rounded
from pipeline.onboarding.trial import Trial, TrialImages, full_steps, run_trial

REPOSITORY = Path(__file__).parents[2]
N_IMAGES = 400
COLOURS = np.array([(220, 40, 40), (40, 180, 60), (50, 80, 220)], np.uint8)

Judge = Callable[[Setting], Sequence[float] | None]
"""Agreement of a setting's seeds; None where they collapse."""


@pytest.fixture(scope="module")
def like() -> Experiment:
    return load_params(REPOSITORY).experiment("digits_ladder")


def black_and_white(n: int = N_IMAGES) -> np.ndarray:
    """Return nearly black and white images of one of three patterns, reversed in one of the four quarters."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16] // 4 % 2
    images = np.stack([y, x, y ^ x]).astype(np.uint8)[rng.integers(0, 3, n)][:, None]
    for image in images:
        top, left = 8 * rng.integers(0, 2, 2)
        image[:, top : top + 8, left : left + 8] ^= 1
    return 235 * images + rng.integers(0, 20, images.shape, dtype=np.uint8)


def coloured_squares(n: int = N_IMAGES) -> np.ndarray:
    """Return images of one of three colours, dark in one of the four quarters."""
    rng = np.random.default_rng(0)
    images = np.empty((n, 3, 8, 8), np.uint8)
    images[:] = COLOURS[rng.integers(0, 3, n)][:, :, None, None]
    for image in images:
        top, left = 4 * rng.integers(0, 2, 2)
        image[:, top : top + 4, left : left + 4] //= 4
    return images + rng.integers(0, 20, images.shape, dtype=np.uint8)


def first() -> Setting:
    return first_setting(N_IMAGES)


def of_shades() -> Setting:
    """A setting of a Gaussian likelihood, as people choose it; none is proposed."""
    gaussian = {"model.likelihood": ("gaussian", ""), "model.sigma": (0.123, ""), "model.rung_gate": (1.0, "")}
    return first().changed(gaussian)


def of_directions() -> Setting:
    usual = preset_values("directions")
    return Setting(parse(ModelParams, usual["model"], "model"), parse(TrainParams, usual["train"], "train"), {})


def find(monkeypatch: pytest.MonkeyPatch, like: Experiment, judge: Judge, n_images: int = N_IMAGES) -> Trials:
    """Climb the ladder with a verdict in place of each training."""

    def judged(setting: Setting, label: str, *_: object) -> Trial:
        agreement = judge(setting)
        faults = ("facet 0 collapsed",) * 2 if agreement is None else ()
        return Trial(setting, label, faults, 2, tuple(agreement or ()), 1.0, 0.01)

    monkeypatch.setattr(ladder, "run_trial", judged)
    data = TrialImages.of_pixels(black_and_white(40))
    return find_setting(first(), n_images, data, like.init_mog, like.publish.gate)


def test_the_first_setting_that_trains_is_chosen_and_no_other_one_tried(monkeypatch, like, capsys):
    """Two starts cannot tell which of two is better; with them `[5, 2]` was taken for drawings that it mixed up."""
    found = find(monkeypatch, like, lambda setting: (0.9, 0.9) if setting.model.latent_dims == (5, 2) else (0.5, 0.3))
    assert found.chosen is not None
    assert found.chosen.setting.model.latent_dims == (10, 1)
    assert [trial.setting.model.n_components for trial in found.all] == [(6, 6), (12, 12)]
    assert found.chosen.verdict == "healthy; two starts agree: facet 0 partly (0.50), facet 1 little (0.30)"
    assert "trials: 2 of at most 6 needed, as a healthy setting was found" in capsys.readouterr().err


def test_the_next_setting_is_tried_where_a_seed_collapses(monkeypatch, like):
    found = find(monkeypatch, like, lambda setting: (0.5, 0.5) if setting.model.latent_dims == (5, 2) else None)
    assert found.chosen is not None
    assert (found.chosen.setting.model.latent_dims, found.chosen.setting.model.n_components) == ((5, 2), (12, 12))
    assert [trial.is_healthy for trial in found.all] == [False, True, True]


def test_twice_as_many_clusters_need_nearly_the_same_agreement(monkeypatch, like):
    of_twelve = {"nearly": 0.46, "less": 0.44}
    for said, agreement in of_twelve.items():

        def judge(setting: Setting, value: float = agreement) -> Sequence[float]:
            return (value,) * 2 if max(setting.model.n_components) == 12 else (0.5, 0.5)

        chosen = find(monkeypatch, like, judge).chosen
        assert chosen is not None
        assert chosen.setting.model.n_components == ((12, 12) if said == "nearly" else (6, 6))


def test_too_few_images_for_twelve_clusters_are_not_tried_with_them(monkeypatch, like):
    assert len(find(monkeypatch, like, lambda _: (0.5, 0.5), n_images=239).all) == 1


def test_one_facet_is_tried_where_two_collapse(monkeypatch, like):
    found = find(monkeypatch, like, lambda setting: (0.8,) if setting.model.latent_dims == (1,) else None)
    assert found.chosen is not None
    assert (found.chosen.setting.model.hidden, len(found.chosen.setting.train.phases)) == (((128, 256),), 1)
    assert [trial.is_healthy for trial in found.all] == [False] * 4 + [True]


def test_nothing_is_chosen_where_nothing_trains(monkeypatch, like, capsys):
    found = find(monkeypatch, like, lambda _: None)
    assert found.chosen is None
    assert len(found.all) == 5
    assert "trials: none of 5 settings was healthy" in capsys.readouterr().err


def test_no_trial_begins_that_would_end_after_the_budget(monkeypatch, like):
    monkeypatch.setattr(ladder, "BUDGET_SECONDS", 0.9)  # a trial says that it took one second
    assert len(find(monkeypatch, like, lambda _: (0.5, 0.5)).all) == 1


def test_fallbacks_narrow_the_deep_facet_then_clusters_then_sigma_then_one_facet():
    wide = of_shades().changed({"model.latent_dims": ([5, 5], ""), "model.n_components": ([25, 25], "")})
    labels = [label for label, _ in fallbacks(wide)]
    sigma = wide.model.sigma
    assert labels == [
        *(
            "a deep facet of one dimension",
            "6 clusters a facet",
            f"sigma {rounded(sigma / 2)}",
            f"sigma {rounded(2 * sigma)}",
        ),
        *("one facet", "one facet of one dimension"),
    ]
    for _, changes in fallbacks(wide):
        changed = wide.changed(changes)  # legal parameters, or it would be refused
        assert wide.differences(changed)
    assert "a deep facet of one dimension" not in [label for label, _ in fallbacks(first())]
    assert not [label for label, _ in fallbacks(first()) if "sigma" in label]  # of a Gaussian likelihood only


def test_fallbacks_over_directions_are_fewer_clusters_then_one_facet_as_it_is():
    setting = of_directions()
    steps = fallbacks(setting)
    assert [label for label, _ in steps] == ["4 clusters a facet", "one facet"]
    few, alone = (setting.changed(changes) for _, changes in steps)  # legal parameters, or they would be refused
    assert setting.differences(few) == {"model.n_components": ((8, 4), (4, 4))}
    model, usual = alone.model, setting.model
    assert (model.family, model.likelihood, model.n_components) == ("residual", "standardised", (4,))
    assert (model.latent_dims, model.hidden) == (usual.latent_dims[1:], usual.hidden[1:])
    assert model.covariance == usual.covariance[1:]
    assert [(phase.epochs, phase.fade_in, phase.refit_at) for phase in alone.train.phases] == [(40, 0.0, 0.0)]
    assert fallbacks(alone) == []
    assert [label for label, _ in fallbacks(few)] == ["one facet"]


@pytest.mark.no_shapes  # they are checked where trainings are tested
def test_one_facet_over_directions_trains_for_real(like):
    _, changes = fallbacks(of_directions())[-1]
    alone = of_directions().changed(changes)
    data = TrialImages.of_pixels(coloured_squares())
    found = run_trial(alone, "one facet", data, like.init_mog, like.publish.gate, [1])
    assert found.is_healthy, found.verdict


def test_a_tiny_sigma_is_halved_not_rounded_away():
    tiny = of_shades().changed({"model.sigma": (0.0007, "")})
    sigmas = {tiny.changed(changes).model.sigma for label, changes in fallbacks(tiny) if "sigma" in label}
    assert sigmas == {0.00035, 0.0014}


def test_a_convolutional_model_of_one_facet_keeps_blocks_of_one_width():
    widths = {"model.family": ("convolutional", ""), "model.hidden": ([[32], [64]], "")}
    model = first().changed(widths)
    for _, changes in fallbacks(model):
        assert model.changed(changes).model.family == "convolutional"


@pytest.mark.no_shapes  # they are checked where trainings are tested
def test_a_trial_trains_for_real_and_tells_what_two_starts_agree_on(monkeypatch, like):
    monkeypatch.setattr(trial, "_MOST_STEPS", 300)
    label, changes = fewer_facets(first())[0]
    small = of_shades().changed({**changes, "model.hidden": ([[32, 64]], "")})
    found = run_trial(small, label, TrialImages.of_pixels(coloured_squares()), like.init_mog, like.publish.gate)
    assert found.is_healthy, found.verdict
    assert len(found.agreement) == 1
    assert found.mean_agreement > 0.3  # 0 is chance; three colours and four quarters are there to be found
    assert found.verdict.startswith("healthy; two starts agree: facet 0 ")


def test_a_trial_of_what_cannot_be_published_names_the_limit(monkeypatch, like):
    monkeypatch.setattr(trial, "_MOST_STEPS", 20)
    data = TrialImages.of_pixels(black_and_white(60))
    found = run_trial(first(), "too short", data, like.init_mog, like.publish.gate, [1])
    assert not found.is_healthy
    assert found.verdict.startswith("1 of 1 seeds not healthy: facet ")
    too_many = first().changed({"model.n_components": ([50, 50], "")})
    assert (
        "at least as many training images as components"
        in run_trial(
            too_many, "", TrialImages.of_pixels(black_and_white(20)), like.init_mog, like.publish.gate, [1]
        ).faults[0]
    )


def test_time_is_predicted_from_the_pace_of_a_trial(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    monkeypatch.setattr("pipeline.onboarding.duration.best_device", lambda: torch.device("cpu"))
    setting = first()
    n_steps = full_steps(setting, N_IMAGES)
    assert n_steps == pytest.approx(3000, rel=0.15)
    paced = Trial(setting, "", (), 2, (), 20.0, 0.01)
    assert predict_seconds(paced, 5, N_IMAGES) == pytest.approx(45 + 3 * n_steps * 0.01)
    assert [shown_minutes(seconds) for seconds in (20.0, 89.0, 95.0, 400.0)] == [
        "20 seconds",
        "89 seconds",
        "2 minutes",
        "7 minutes",
    ]
