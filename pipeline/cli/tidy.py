"""``facets tidy``."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from pipeline.cli._shared import AsJson, ExperimentName, WaitSeconds, find_root, show

if TYPE_CHECKING:
    from pipeline.operations.tidy import TidyResult


def tidy(experiment: ExperimentName, wait: WaitSeconds = 600.0, as_json: AsJson = False) -> None:
    """Make room: delete old versions, abandoned resume files and unused entries of DVC's cache.

    Nothing that is referred to is deleted: the current version, its model, the batches and the outputs of active
    experiments stay, also those of other branches, of tags and of DVC's experiments. How many versions stay is
    publish.keep_versions in params.yaml.

    \b
    Example:
        facets tidy digits
    """
    from pipeline.operations.tidy import tidy

    result = tidy(find_root(), experiment, wait)
    text = f"{experiment}: {result.freed_mebibytes} MiB freed; versions deleted: {_describe(result)}"
    if result.purged:
        text += "\nimages were removed: what DVC kept for other branches, tags and experiments went with them"
    show(text, asdict(result), as_json)


def _describe(result: "TidyResult") -> str:
    reasons = {
        "more than publish.keep_versions": [each for each in result.versions if each not in result.withdrawn],
        "images in them were removed": result.withdrawn,
    }
    parts = [f"{', '.join(map(str, numbers))} ({reason})" for reason, numbers in reasons.items() if numbers]
    return ", ".join(parts) or "none"
