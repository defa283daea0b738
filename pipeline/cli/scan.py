"""``facets scan``."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from pipeline.cli._shared import AsJson, ExperimentName, open_experiment, show
from pipeline.core.text import set_aside

if TYPE_CHECKING:
    from pipeline.operations.scan import ScanResult


def scan(experiment: ExperimentName, as_json: AsJson = False) -> None:
    """Pin the content of the source as it is now.

    It is kept in data/sources/EXP.json. Hashes are remembered by size and time of change: a second scan is quick.
    Files that cannot be opened are counted; whether a file is a sound image is seen when facets rebuild decodes it.

    \b
    Example:
        facets scan digits
    """
    from pipeline.operations.scan import scan_source

    layout, params = open_experiment(experiment)
    result = scan_source(layout, params.preprocess)
    facts = ", ".join(f"{key} {value}" for key, value in result.pinned.items())
    state = "changed" if result.has_changed else "unchanged"
    lines = [f"{experiment}: {state}; {facts}", f"  {_describe(result)}"]
    value = {
        "changed": result.has_changed,
        **result.pinned,
        "set_aside": result.reasons,
        "account": None if result.account is None else asdict(result.account),
    }
    show("\n".join(lines), value, as_json)


def _describe(result: "ScanResult") -> str:
    if result.account is not None:
        return f"prepared last: {result.account.text}"
    found = ""
    if result.reasons:  # of a folder, whose files are counted
        found = f"{set_aside(result.pinned['count'] + sum(result.reasons.values()), result.reasons)}; "
    return f"{found}which images are damaged is seen when they are decoded, by facets rebuild"
