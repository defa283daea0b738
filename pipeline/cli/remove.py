"""``facets remove``."""

from dataclasses import asdict
from typing import Annotated

import typer

from pipeline.cli._shared import AsJson, ExperimentName, WaitSeconds, open_experiment, show
from pipeline.core.text import counted

_Batches = Annotated[
    list[str] | None, typer.Option("--batch", metavar="ID", help="All images of this batch.", show_default=False)
]
_Images = Annotated[list[str] | None, typer.Option("--image", metavar="ID", help="This image.", show_default=False)]
_FromSource = Annotated[
    bool, typer.Option("--from-source", help="Also images of a batch that lie in the source: it is read without them.")
]


def remove(
    experiment: ExperimentName,
    batch: _Batches = None,
    image: _Images = None,
    from_source: _FromSource = False,
    wait: WaitSeconds = 600.0,
    as_json: AsJson = False,
) -> None:
    """Remove images for good: a bad delivery, or a request to delete.

    They and all copies of them leave tables, shards and pictures at once and cannot come in again. The training set
    follows with the next facets rebuild, old files of DVC's cache with facets tidy. Files outside, such as the source
    or what was delivered, are yours to delete. Both options can be given several times. A batch of which images lie in
    the source, too, as the last facets rebuild read it, is kept unless --from-source is said: the source would be read
    without them from then on.

    \b
    Example:
        facets remove digits --batch b-0123456789ab
        facets remove digits --image i-00b1e8fec3a0260e661ae01c4fd98a35
    """
    from pipeline.operations.remove import remove

    layout, _ = open_experiment(experiment)
    result = remove(layout, batch or [], image or [], wait, from_source=from_source)
    lines = [f"{experiment}: {counted(len(result.image_ids), 'image')} removed, version {result.version}"]
    if not result.image_ids:
        lines = [f"{experiment}: removed already, version {result.version}"]
    if result.lingers:
        lines.append(f"  until facets rebuild {experiment} and facets tidy they linger in {', '.join(result.lingers)}")
    show("\n".join(lines), asdict(result), as_json)
