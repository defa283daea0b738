"""A training of which only changed code is the reason may take hours, so it needs consent."""

from collections.abc import Mapping
from contextlib import suppress

from pipeline.core.errors import ConfigError
from pipeline.core.layout import Layout
from pipeline.operations.run_log import read_runs

_TRAINING = ("init_mog", "train")
_RESOLVE = "resolve"  # of a parameter that it finds changed, the stages that read it say so


def require_consent(layout: Layout, stale: Mapping[str, str], ask_minutes: float) -> None:
    """Refuse a training of which only changed code is the reason, if the last one took long.

    Args:
        layout: of the experiment.
        stale: stage to reason, from :func:`pipeline.operations.repro.stale_stages`.
        ask_minutes: how long a training may take unasked.

    Raises:
        ConfigError: it would take longer.
    """
    seconds = _last_training(layout)
    if seconds is None or seconds <= 60 * ask_minutes or not any(stage in stale for stage in _TRAINING):
        return
    changes = [part for stage, reason in stale.items() if stage != _RESOLVE for part in reason.split(", ")]
    code = ("input pipeline/", "input stages/", f"input {layout.resolved.relative_to(layout.root).as_posix()} new")
    if all(part.startswith(code) for part in changes):
        raise ConfigError(
            f"only code has changed ({', '.join(sorted(set(changes)))}), but a training of {layout.experiment} took "
            f"{seconds / 60:.0f} minutes, more than schedule.ask_minutes = {ask_minutes:g}; rebuild with --yes (in a "
            "flow yes=True), or take the change back"
        )


def _last_training(layout: Layout) -> float | None:
    """Return how long the last training ran, in seconds, as far as the run log knows."""
    found: float | None = None
    for entry in read_runs(layout.root):
        if entry.get("operation") == "rebuild" and entry.get("experiment") == layout.experiment:
            # A damaged line may lack anything.
            with suppress(KeyError, TypeError, ValueError):
                times = [float(run["seconds"]) for run in entry["stages"] if run["stage"] == "train"]
                found = next(filter(None, times), found)
    return found
