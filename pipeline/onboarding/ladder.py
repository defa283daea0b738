"""Which setting to propose of nearly black and white images, and what to try instead of any that collapses.

It is a small ladder of trials, climbed from the setting that trains most often. The order comes from
``benchmarks/recipes.md``: a deep facet of one dimension leaves something for the shallow one in nearly every
collection; more dimensions find more where there is more, and collapse where there is not.
"""

import time
from dataclasses import dataclass

from pipeline.config.ladders import LADDERS
from pipeline.config.sections import InitMogParams
from pipeline.config.service import GateParams
from pipeline.core.progress import progress, tell
from pipeline.onboarding.settings import (
    FEWEST_CLUSTERS,
    FEWEST_PER_CLUSTER,
    N_CLUSTERS,
    Reasoned,
    Setting,
    phases,
    rounded,
)
from pipeline.onboarding.trial import Trial, TrialImages, run_trial

BUDGET_SECONDS = 180.0
"""No trial of a proposal begins that would probably end later."""

_TOLERANCE = 0.05  # of agreement: so much less of it is accepted for twice as many clusters

Changes = dict[str, Reasoned]

_OTHER_LATENTS: list[tuple[str, Changes]] = [
    ("a deep facet of two dimensions", {"model.latent_dims": ([5, 2], "with other sizes facets collapsed")}),
    ("facets of five dimensions", {"model.latent_dims": ([5, 5], "with other sizes facets collapsed")}),
]


@dataclass(frozen=True)
class Trials:
    """What was tried for a proposal.

    Attributes:
        all: in order.
        chosen: the one that is proposed; ``None`` if no setting was healthy.
    """

    all: tuple[Trial, ...]
    chosen: Trial | None


def find_setting(first: Setting, n_images: int, data: TrialImages, init: InitMogParams, gate: GateParams) -> Trials:
    """Try settings one after the other until one trains, without labels; then the same with twice as many clusters.

    The first of which every seed is healthy is chosen: two starts show that a setting trains, but not which of two is
    better (`benchmarks/recipes.md`). Twice as many clusters are chosen if the seeds agree nearly as much on them.

    Args:
        first: the setting to begin with.
        n_images: usable images of the whole source.
        data: a sample of them.
        init: the section of the mixtures' start.
        gate: what publishing asks of a model.
    """
    start = time.monotonic()
    trials: list[Trial] = []
    first_step: tuple[str, Changes] = ("as proposed first", {})
    steps = [first_step, *_OTHER_LATENTS, *fewer_facets(first)]

    def attempt(label: str, changes: Changes, of: Setting) -> Trial | None:
        slowest = max((trial.seconds for trial in trials), default=0.0)
        if time.monotonic() - start + slowest > BUDGET_SECONDS:
            return None
        trial = run_trial(of.changed(changes), label, data, init, gate)
        trials.append(trial)
        bar.advance(1, f"{label}: {trial.verdict}")
        return trial

    with progress("trials", len(steps) + 1, "trial") as bar:
        tried = (attempt(label, changes, first) for label, changes in steps)  # no further than needed
        best = next((trial for trial in tried if trial is not None and trial.is_healthy), None)
        n_clusters = 2 * N_CLUSTERS
        if best is not None and best.setting.model.n_facets > 1 and n_images >= n_clusters * FEWEST_PER_CLUSTER:
            more = attempt(f"{n_clusters} clusters, {best.label}", _clusters(n_clusters, best.setting), best.setting)
            if more is not None and more.is_healthy and more.mean_agreement >= best.mean_agreement - _TOLERANCE:
                best = more
    if len(trials) <= len(steps):
        tell(f"trials: {_why_so_few(len(trials), len(steps), best)}")
    return Trials(tuple(trials), best)


def _why_so_few(n_trials: int, n_steps: int, best: Trial | None) -> str:
    if best is not None:
        return f"{n_trials} of at most {n_steps + 1} needed, as a healthy setting was found"
    if n_trials < n_steps:
        return f"{n_trials} of {n_steps}, as {BUDGET_SECONDS:.0f} seconds are over; no setting was healthy"
    return f"none of {n_trials} settings was healthy"


def fallbacks(setting: Setting) -> list[tuple[str, Changes]]:
    """Return what to change, one after the other, of a setting whose seeds collapsed: label and changes.

    Args:
        setting: model and training as they are.
    """
    model = setting.model
    if LADDERS[model.family].takes_rows:
        return _fewer_of_directions(setting)
    narrow: Changes = {}
    if model.n_facets > 1 and model.latent_dims[-1] > 1:
        dims = [*(max(10, dim) for dim in model.latent_dims[:-1]), 1]
        narrow = {"model.latent_dims": (dims, "with more dimensions the deep facet took everything")}
    few: Changes = {}
    if max(model.n_components) > N_CLUSTERS:
        few = {"model.n_components": ([min(N_CLUSTERS, n) for n in model.n_components], "of more, many stayed empty")}
    ladder = [("a deep facet of one dimension", narrow), (f"{N_CLUSTERS} clusters a facet", {**narrow, **few})]
    if model.likelihood == "gaussian":
        for factor, why in (
            (0.5, "with a larger one clusters were vague"),
            (2.0, "with a smaller one facets collapsed"),
        ):
            sigma = rounded(model.sigma * factor)
            ladder.append((f"sigma {sigma}", {**narrow, **few, "model.sigma": (sigma, why)}))
    distinct = [step for n, step in enumerate(ladder) if step[1] and step[1] not in [one[1] for one in ladder[:n]]]
    return distinct + fewer_facets(setting)


def worth_changing(setting: Setting) -> str:
    """Return which key of ``model`` decides most whether its facets collapse, for people who go on by themselves."""
    return "n_components" if LADDERS[setting.model.family].takes_rows else "latent_dims"


def fewer_facets(setting: Setting) -> list[tuple[str, Changes]]:
    """Return changes to one facet alone, wide and narrow; none where there is one already."""
    model = setting.model
    if model.n_facets == 1:
        return []
    can_be_joined = not LADDERS[model.family].one_width
    hidden = [[width for block in model.hidden for width in block] if can_be_joined else list(model.hidden[0])]
    epochs = max(1, sum(phase.epochs for phase in setting.train.phases) // 2)
    why = "two facets did not train"

    def alone(dim: int, n_clusters: int) -> Changes:
        return {
            "model.latent_dims": ([dim], why),
            "model.n_components": ([n_clusters], why),
            "model.covariance": ([model.covariance[-1]], why),
            "model.hidden": (hidden, why),
            "train.phases": (phases(1, epochs), why),
        }

    n_clusters = min(N_CLUSTERS, *model.n_components)
    return [("one facet", alone(5, n_clusters)), ("one facet of one dimension", alone(1, min(4, n_clusters)))]


def _fewer_of_directions(setting: Setting) -> list[tuple[str, Changes]]:
    """Return fewer clusters, then the deepest facet alone.

    Facets read what others leave, however many dimensions they have, and learn how far rows are off: neither is to be
    tried. What their clusters begin with is no better after a refit, so one facet has none.
    """
    model, steps = setting.model, list[tuple[str, Changes]]()
    few = [min(FEWEST_CLUSTERS, n) for n in model.n_components]
    if few != list(model.n_components):
        changes: Changes = {"model.n_components": (few, "of more, some stayed empty or were vague")}
        steps.append((f"{FEWEST_CLUSTERS} clusters a facet", changes))
    if model.n_facets > 1:
        why = f"{model.n_facets} facets did not train"
        epochs = sum(phase.epochs for phase in setting.train.phases)
        alone: Changes = {
            "model.latent_dims": ([model.latent_dims[-1]], why),
            "model.n_components": (few[-1:], why),
            "model.covariance": ([model.covariance[-1]], why),
            "model.hidden": ([list(model.hidden[-1])], why),
            "train.phases": ([{"epochs": epochs, "fade_in": 0.0, "refit_at": 0.0}], why),
        }
        steps.append(("one facet", alone))
    return steps


def _clusters(n_clusters: int, setting: Setting) -> Changes:
    why = "clusters a facet at most: two starts agreed on them as on half as many"
    return {"model.n_components": ([n_clusters] * setting.model.n_facets, why)}
