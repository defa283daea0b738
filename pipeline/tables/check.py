"""Whether the published tables keep their promises; reads everything of the current version."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.core.errors import PipelineError
from pipeline.core.folder_seal import folder_faults, is_folder_sealed
from pipeline.table_format.schema import facet_table
from pipeline.tables.content import content_faults
from pipeline.tables.draft import load_identity
from pipeline.tables.engine import repeated_ids
from pipeline.tables.group_rows import updated_groups
from pipeline.tables.lists import load_entries
from pipeline.tables.model_folder import ModelFolder
from pipeline.tables.parts import read_rows
from pipeline.tables.place import Place
from pipeline.tables.summary import Tally
from pipeline.tables.verified import fault_of
from pipeline.tables.versions import Entry, Version, load_version


def find_problems(published: Path) -> list[str]:
    """Return what is wrong with the current version, one line a fault; nothing if all is well.

    Checked are: every listed file is there, whole and says what it said when it was written; each facet lists exactly
    the images of table ``images``; no image appears twice; sizes in ``clusters`` agree with the rows, and those in
    ``groups`` with ``clusters``; the files of content hashes are whole; the files of the model in service are what they
    were, its components have one uid each, and so have its groups.
    """
    place = Place(published)
    try:
        version = load_version(place)
        entries = load_entries(place, version)
        found = [*_identity_problems(place, version), *_model_problems(published, version)]
    except PipelineError as error:
        return [str(error)]
    found += [*_table_problems(published, version, entries), *content_faults(published)]
    if not found:
        found += _group_problems(published, version)
    if not found:
        images = [published / entry.parts["images"].file for entry in entries]
        with tempfile.TemporaryDirectory() as scratch:
            repeated = repeated_ids(images, Path(scratch))
        if repeated:
            found.append(f"an image must be published once, got {', '.join(repeated)} in more than one row")
    return found


def _identity_problems(place: Place, version: Version) -> Iterator[str]:
    uids = load_identity(place, version).maps.get(version.model_version, ())
    if len(uids) != version.n_facets:
        yield f"{version.identity} must have the clusters of {version.n_facets} facets, got {len(uids)}"
    for facet, (names, totals) in enumerate(zip(uids, version.totals, strict=False)):
        if len(names) != len(totals.sizes) or len(set(names)) != len(names):
            yield f"facet {facet} must have one cluster_uid a component ({len(totals.sizes)}), got {len(set(names))}"


def _group_problems(published: Path, version: Version) -> Iterator[str]:
    """Yield where the groups of the tables are not those of the model."""
    identity = load_identity(Place(published), version)
    if version.model_version not in identity.groups:
        return  # an earlier release published the model
    groups = ModelFolder(published, version.model_version).groups
    expected = [] if groups is None else [list(facet.component_group) for facet in groups.facets]
    uids = identity.groups[version.model_version]
    found = [[list(dict.fromkeys(of_facet)).index(uid) for uid in of_facet] for of_facet in uids]
    if found != expected:
        yield f"{version.identity} must give a group_uid to the groups of model {version.model_version}, got others"
    clusters, rows = (read_rows(published / version.tables[name].file) for name in ("clusters", "groups"))
    if [row["group_uid"] for row in clusters] != [uid for of_facet in uids for uid in of_facet]:
        yield f"{version.tables['clusters'].file} must state the group_uid of every cluster, got others"
    if rows != updated_groups(rows, clusters) or {row["group_uid"] for row in rows} != {u for f in uids for u in f}:
        yield f"{version.tables['groups'].file} must list every group with the images of its clusters, got others"


def _model_problems(published: Path, version: Version) -> Iterator[str]:
    model = ModelFolder(published, version.model_version)
    if is_folder_sealed(model.path):
        for name, reason in folder_faults(model.path).items():
            yield f"{model.path / name} {reason}"
        return
    weights = model.path / f"seed-{model.model['selected_seed']}.safetensors"
    if not weights.exists():
        yield f"{weights} is missing, so no new batch can be assigned; run facets publish"


def _table_problems(published: Path, version: Version, entries: Sequence[Entry]) -> list[str]:
    found: list[str] = []
    tallies = [Tally(len(totals.sizes)) for totals in version.totals]
    for part in version.tables.values():
        found += filter(None, [fault_of(published, part)])
    for entry in entries:
        for table, part in entry.parts.items():
            observers = [tally.add for facet, tally in enumerate(tallies) if table == facet_table(facet)]
            found += filter(None, [fault_of(published, part, observers)])
            if table != "quarantine" and (part.rows, part.ids) != (entry.rows, entry.parts["images"].ids):
                found.append(
                    f"{part.file} must list the {entry.rows} images of batch {entry.batch_id}, got {part.rows}"
                )
    if not found and tuple(tally.totals() for tally in tallies) != version.totals:
        found.append(f"{version.file} must state the sizes that the parts have, got others")
    if sum(entry.rows for entry in entries) != version.n_images:
        found.append(f"{version.file} must list {version.n_images} images, got {sum(entry.rows for entry in entries)}")
    return found
