"""How long a rebuild will take, from what a trial took."""

import torch

from pipeline.model.precision import best_device
from pipeline.onboarding.trial import Trial, full_steps

_AROUND_SECONDS = 45.0
"""Of all stages but the training, on a few thousand images: mostly the start of their processes."""


def predict_seconds(trial: Trial, n_seeds: int, n_images: int) -> float:
    """Return about how long a rebuild takes on this machine, were nothing else running.

    Args:
        trial: of the setting.
        n_seeds: of the experiment.
        n_images: of its training split.
    """
    at_once = n_seeds if best_device().type == "cuda" else torch.get_num_threads()
    seconds_a_round = trial.seconds_per_step / _rounds(trial.n_seeds, at_once) * full_steps(trial.setting, n_images)
    return _AROUND_SECONDS + seconds_a_round * _rounds(n_seeds, at_once)


def shown_minutes(seconds: float) -> str:
    """Return a duration as people say it."""
    return f"{max(1, round(seconds)):.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"


def _rounds(n_seeds: int, at_once: int) -> int:
    return -(-n_seeds // max(1, at_once))
