"""``facets ingest``."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli._shared import AsJson, ExperimentName, WaitSeconds, absolute, open_experiment, show
from pipeline.core.errors import DataError
from pipeline.core.text import count_reasons, counted, printable, set_aside

if TYPE_CHECKING:
    from pipeline.operations.ingest import IngestResult

_Location = Annotated[
    str,
    typer.Argument(metavar="PATH", help="Folder or file of images; a path or a URL.", show_default=False),
]
_SHOWN = 5


def ingest(experiment: ExperimentName, path: _Location, wait: WaitSeconds = 600.0, as_json: AsJson = False) -> None:
    """Add new images to the published tables, assigned by the model in service.

    Bad images are set aside with a reason and the rest goes on. Content that is there already is not added again. The
    files may be deleted afterwards. Training and DVC are not touched; facets retrain lets the images join them.

    \b
    Example:
        facets ingest digits ~/scans/november
    """
    from pipeline.operations.ingest import ingest

    layout, params = open_experiment(experiment)
    result = ingest(layout, params, absolute(path), wait)
    if result.is_unusable:
        raise DataError(_refusal(result))
    show(_describe(result), asdict(result), as_json)


def _refusal(result: "IngestResult") -> str:
    first = "; ".join(f"{printable(file)} {reason}" for file, reason in result.quarantined[:_SHOWN])
    found = (
        f"{counted(len(result.quarantined), 'file')}, none of them usable: {first}" if first else f"no {result.noun}s"
    )
    return f"{result.source} must hold {result.noun}s, got {found}; correct the path or the files"


def _describe(result: "IngestResult") -> str:
    reasons = count_reasons(reason for _, reason in result.quarantined)
    n_delivered = result.n_images + result.duplicates + len(result.quarantined)
    facts = f"{result.duplicates} were there already; {set_aside(n_delivered, reasons)} ({result.seconds:.1f} s)"
    if result.batch_id is None:
        lines = [f"{result.experiment}: nothing new in {printable(result.source)}; {facts}"]
    else:
        new = f"{counted(result.n_images, f'new {result.noun}')} as batch {result.batch_id} in version {result.version}"
        lines = [f"{result.experiment}: {new}; {facts}"]
    lines += [f"  quarantined  {printable(file)}: {reason}" for file, reason in result.quarantined[:_SHOWN]]
    if len(result.quarantined) > _SHOWN:
        lines.append(f"  quarantined  and {len(result.quarantined) - _SHOWN} more, see table quarantine")
    if result.drifted:
        scores = ", ".join(f"facet {facet}: {score:.1f}" for facet, score in enumerate(result.drift or ()))
        lines.append(f"  drifted      these {result.noun}s differ from those of the training (score {scores})")
    lines += [f"  completed    {batch_id}, which an earlier run had left" for batch_id in result.completed]
    lines += [f"  failed       {printable(fault)}; the rows are in" for fault in result.faults]
    return "\n".join(lines)
