"""Another setting where a first training collapses: found by short trials, written to ``params.yaml``, and said.

Only of experiments that were never published: where tables are in service, they stay, and a person decides.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.config.sections import Experiment
from pipeline.config.write import flow_text, line_of, with_values
from pipeline.core.errors import DataError, ModelError
from pipeline.core.input_words import input_noun
from pipeline.core.layout import Layout
from pipeline.core.storage import read_json, write_json
from pipeline.core.text import to_json
from pipeline.datasets.store.images import ImageStore
from pipeline.onboarding.duration import predict_seconds, shown_minutes
from pipeline.onboarding.ladder import fallbacks, worth_changing
from pipeline.onboarding.settings import Reasoned, Setting
from pipeline.onboarding.trial import SEEDS, Trial, TrialImages, run_trial
from pipeline.operations.params_file import change_params

OnLine = Callable[[str], None]


@dataclass(frozen=True)
class Change:
    """A value that was changed in ``params.yaml``.

    Attributes:
        key: dotted, below the experiment.
        before: the value that did not train.
        after: the one that did in a trial.
        why: what was wrong.
    """

    key: str
    before: Any
    after: Any
    why: str

    def __str__(self) -> str:
        return f"{self.key}: {flow_text(self.before)} → {flow_text(self.after)} ({self.why})"


class Retry:
    """Trials of one rebuild, within its budget.

    Args:
        layout: of the experiment.
        seconds: how long trials may take in all.
        on_line: called with what people should read.
    """

    def __init__(self, layout: Layout, seconds: float, on_line: OnLine | None) -> None:
        self._layout, self._budget = layout, seconds
        self._say = on_line or (lambda _: None)
        self._tried: list[Trial] = []
        self.changes: list[Change] = []

    def check_first(self, experiment: Experiment) -> Experiment:
        """Train one quick seed, so that a setting which collapses costs a minute; return what is to be trained.

        Args:
            experiment: its parameters, which no trial has shown to train; its training split is prepared.

        Raises:
            ModelError: it collapses, and so does whatever else was tried.
        """
        trial = self._try(_setting(experiment), "as it stands in params.yaml", experiment)
        if not trial.is_healthy:
            return self.change(experiment, trial.faults[0])
        remember(self._layout, experiment, self._predicted(trial, experiment))
        return experiment

    def known_seconds(self, experiment: Experiment) -> float | None:
        """Return how long a rebuild will take if a trial has shown the experiment's setting to train, else None."""
        with suppress(DataError, KeyError, TypeError, ValueError):  # none, or a damaged one
            kept = read_json(_kept(self._layout))
            if isinstance(kept, dict) and kept.get("trained") == _key(experiment):
                return float(kept["seconds"])
        return None

    def announce(self, experiment: Experiment) -> None:
        """Say before a training how long it will take, if a trial has told."""
        seconds = self.known_seconds(experiment)
        if seconds is not None:
            self._say(f"{self._layout.experiment}: this will take about {shown_minutes(seconds)}, as trials went")

    def change(self, experiment: Experiment, fault: str) -> Experiment:
        """Find a setting that trains, write it to ``params.yaml``, and return the experiment as it is then.

        Args:
            experiment: its parameters, which did not train.
            fault: what was wrong.

        Raises:
            ModelError: no setting trained within the budget; the message names the lines to change.
        """
        setting = _setting(experiment)
        for label, changes in fallbacks(setting):
            if any(trial.label == label for trial in self._tried):
                continue
            spent = [trial.seconds for trial in self._tried]  # trainings in between do not count
            if sum(spent) + max(spent, default=0.0) > self._budget:
                break
            trial = self._try(setting.changed(changes), label, experiment)
            if trial.is_healthy:
                return self._write(experiment, trial, changes)
        raise ModelError(self._refusal(setting, fault))

    def _try(self, setting: Setting, label: str, experiment: Experiment) -> Trial:
        self._say(f"trial: one quick seed, {label}")
        images = _some_images(self._layout)
        trial = run_trial(setting, label, images, experiment.init_mog, experiment.publish.gate, SEEDS[:1])
        self._say(f"trial: {label}: {trial.verdict} ({trial.seconds:.0f} s)")
        self._tried.append(trial)
        return trial

    def _write(self, experiment: Experiment, trial: Trial, changes: Mapping[str, Reasoned]) -> Experiment:
        name = self._layout.experiment
        params = change_params(self._layout.root, f"rebuild {name}", lambda text, _: with_values(text, name, changes))
        for key, (before, after) in _setting(experiment).differences(trial.setting).items():
            change = Change(f"{self._layout.experiment}.{key}", before, after, changes[key][1])
            self.changes.append(change)
            self._say(f"changed in params.yaml: {change}")
        changed = params.experiment(name)
        remember(self._layout, changed, self._predicted(trial, changed))
        return changed

    def _predicted(self, trial: Trial, experiment: Experiment) -> float:
        with ImageStore(self._layout.prepared / "train.h5") as store:
            return predict_seconds(trial, len(experiment.seeds), store.n_images)

    def _refusal(self, setting: Setting, fault: str) -> str:
        text = (self._layout.root / "params.yaml").read_text(encoding="utf-8")
        name = self._layout.experiment
        tried = "; ".join(f"{trial.label}: {trial.verdict}" for trial in self._tried)
        with ImageStore(self._layout.prepared / "train.h5") as store:
            noun = input_noun(store.spec.describe())
        key = worth_changing(setting)
        line, now = line_of(text, name, f"model.{key}"), list(getattr(setting.model, key))
        return (
            f"{name} must train, but {fault}. Tried besides: {tried or 'nothing, as the time was up'}. Change "
            f"experiments.{name}.model.{key} (line {line} of params.yaml, now {now}) "
            f"or give more {noun}s; --retry-minutes has the time for trials"
        )


def remember(layout: Layout, experiment: Experiment, seconds: float) -> None:
    """Keep that an experiment's setting trains, and how long a rebuild will take."""
    write_json(_kept(layout), {"trained": _key(experiment), "seconds": round(seconds, 1)})


def _setting(experiment: Experiment) -> Setting:
    return Setting(experiment.model, experiment.train, {})


def _some_images(layout: Layout) -> TrialImages:
    with ImageStore(layout.prepared / "train.h5") as store:
        return TrialImages.of_store(store)


def _kept(layout: Layout) -> Path:
    return layout.root / ".work" / layout.experiment / "trial.json"


def _key(experiment: Experiment) -> str:
    stated = [asdict(section) for section in (experiment.preprocess, experiment.model, experiment.train)]
    return hashlib.sha256(to_json(stated).encode()).hexdigest()
