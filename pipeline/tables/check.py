"""Whether the published tables keep their promises; reads everything."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.tables.draft import load_identity
from pipeline.tables.engine import repeated_ids
from pipeline.tables.model_folder import ModelFolder
from pipeline.tables.parts import Observer, observed, part_rows, part_schema
from pipeline.tables.place import Place
from pipeline.tables.schema import facet_table
from pipeline.tables.summary import Tally
from pipeline.tables.versions import Entry, PartFile, Version, load_entries, load_version
from pipeline.tables.writer import measure


def find_problems(published: Path) -> list[str]:
    """Return what is wrong with the current version, one line a fault; nothing if all is well.

    Checked are: every listed file is there, whole and says what it said when it was written; each facet lists exactly
    the images of table ``images``; no image appears twice; sizes in ``clusters`` agree with the rows; the model in
    service is at hand and its components have one uid each.
    """
    place = Place(published)
    try:
        version = load_version(place)
        entries = load_entries(place, version)
        found = [*_identity_problems(place, version), *_model_problems(published, version)]
    except PipelineError as error:
        return [str(error)]
    found += _table_problems(published, version, entries)
    if not found:
        images = [published / entry.parts["images"].file for entry in entries]
        with tempfile.TemporaryDirectory() as scratch:
            repeated = repeated_ids(images, Path(scratch))
        if repeated:
            found.append(f"an image must be published once, got {', '.join(repeated)} in more than one row")
    return found


def _identity_problems(place: Place, version: Version) -> Iterator[str]:
    uids = load_identity(place, version).maps[version.model_version]
    for facet, (names, totals) in enumerate(zip(uids, version.totals, strict=True)):
        if len(names) != len(totals.sizes) or len(set(names)) != len(names):
            yield f"facet {facet} must have one cluster_uid a component ({len(totals.sizes)}), got {len(set(names))}"


def _model_problems(published: Path, version: Version) -> Iterator[str]:
    model = ModelFolder(published, version.model_version)
    weights = model.path / f"seed-{model.model['selected_seed']}.safetensors"
    if not weights.exists():
        yield f"{weights} is missing, so no new batch can be assigned; run facets publish"


def _table_problems(published: Path, version: Version, entries: Sequence[Entry]) -> list[str]:
    found: list[str] = []
    tallies = [Tally(len(totals.sizes)) for totals in version.totals]
    for part in version.tables.values():
        found += _part_problems(published, part, [])
    for entry in entries:
        for table, part in entry.parts.items():
            observers = [tally.add for facet, tally in enumerate(tallies) if table == facet_table(facet)]
            found += _part_problems(published, part, observers)
            if table != "quarantine" and (part.rows, part.ids) != (entry.rows, entry.parts["images"].ids):
                found.append(
                    f"{part.file} must list the {entry.rows} images of batch {entry.batch_id}, got {part.rows}"
                )
    if not found and tuple(tally.totals() for tally in tallies) != version.totals:
        found.append(f"{version.file} must state the sizes that the parts have, got others")
    if sum(entry.rows for entry in entries) != version.n_images:
        found.append(f"{version.file} must list {version.n_images} images, got {sum(entry.rows for entry in entries)}")
    return found


def _part_problems(published: Path, part: PartFile, observers: Sequence[Observer]) -> list[str]:
    path = published / part.file
    try:
        content = measure(part_schema(path), observed(part_rows(path), observers))
    except PipelineError as error:
        return [str(error)]
    if PartFile(part.file, **asdict(content)) != part:
        return [f"{path} must say what it said when it was published, got other rows or columns; publish again"]
    return []
