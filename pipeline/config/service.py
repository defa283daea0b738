"""The sections that no stage reads: publishing, new batches, schedules."""

from dataclasses import dataclass

from pipeline.config.ranges import Count, Fraction, Positive, Whole
from pipeline.config.when import check_time_zone, interval_of


@dataclass(frozen=True)
class GateParams:
    """Health that a model needs before it replaces the published one; each limit holds for every facet."""

    min_occupied: Fraction  # part of the components with at least one image
    max_share: Fraction  # part of the images in the largest cluster
    min_entropy: Fraction  # entropy of the cluster sizes over log K
    min_active_units: Whole  # latent dimensions whose posterior means vary
    min_confidence: Fraction  # mean of the largest responsibility


@dataclass(frozen=True)
class PublishParams:
    """Versions and identities of published tables."""

    min_jaccard: Fraction  # overlap that lets a new cluster keep an old uid
    keep_versions: Count  # newest versions that tidying leaves
    cluster: str | None  # address of a Dask scheduler that assigns batches to a new model; null works on this machine
    gate: GateParams


@dataclass(frozen=True)
class DriftParams:
    """When a batch counts as drifted (see docs)."""

    false_alarm_rate: Fraction  # of batches that count as drifted though nothing has changed
    min_images: Count  # of a batch; with fewer nothing is said of drift


@dataclass(frozen=True)
class IngestParams:
    """New image batches."""

    quiet_seconds: Positive  # a batch is complete when its files were stable for so long, or at its marker file
    workers: Whole  # decoding processes; 0 means one a processor
    drift: DriftParams


@dataclass(frozen=True)
class ScheduleParams:
    """When flows run, and when the policy asks for a retraining."""

    rebuild: str  # when to rebuild and retrain; a cron expression, or "every 6 hours"
    tidy: str  # when to tidy, likewise
    timezone: str  # of both, e.g. Europe/Vienna
    poll_seconds: Positive  # between looks at the inbox
    retrain_new_images: Count  # new images that ask for a retraining
    retrain_drifted_batches: Count  # likewise, drifted batches
    retrain_days: Count  # likewise, days since the model was trained
    ask_minutes: Positive  # a code-only change that would train for longer asks first

    def __post_init__(self) -> None:
        for when in (self.rebuild, self.tidy):
            interval_of(when)
        check_time_zone(self.timezone)
