"""What is shared becomes what is published here, in one step; files that are here already are not fetched.

Everything is fetched first, into ``.work``. Then the removed images come on their list, the shards into hidden folders,
and the tables into a step (:mod:`pipeline.tables.transaction`), which commits: what was cut off before it is begun
again, what was cut off after it any later operation completes. Batches ingested here that the tables then lack are
added to them last; where that was cut off, the next pull, push or ingestion does it.
"""

import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.sections import Experiment
from pipeline.core.errors import DataError, PublishError
from pipeline.core.layout import Layout
from pipeline.core.progress import progress
from pipeline.core.sealed import copy_bytes, read_sealed
from pipeline.core.storage import require_free_space, write_json
from pipeline.datasets.prepare.id_list import read_id_list
from pipeline.operations.ingest import publish_left
from pipeline.operations.locks import batches_lock
from pipeline.operations.publish import show_served
from pipeline.operations.push import THREADS, still
from pipeline.operations.remove import carry_out_removals
from pipeline.operations.shards import exchange_pulled, pulled_folder
from pipeline.operations.shared import (
    MANIFESTS,
    describe_nothing,
    find_address,
    note_address,
    note_head,
    path_of,
    relation,
    remember,
    shared_files,
)
from pipeline.operations.tracked import remember_tracked
from pipeline.sharing import Blob, Head, Listing, Store, open_store
from pipeline.sharing.store import Missing
from pipeline.tables import History
from pipeline.tables.transaction import plan, step
from pipeline.tables.versions import load_history, version_file

_REMOVED = "lists/removed.json"


@dataclass(frozen=True)
class PullResult:
    """What came in.

    Attributes:
        experiment: its name.
        address: where it is shared.
        version: the published version that readers now see.
        fetched: files that were not here.
        n_bytes: of these.
        is_new: whether anything here is another one than before.
        added: batches ingested here that joined the versions of others.
        faults: why others of them could not.
    """

    experiment: str
    address: str
    version: int
    fetched: int
    n_bytes: int
    is_new: bool
    added: tuple[str, ...]
    faults: tuple[str, ...]


def pull(
    layout: Layout,
    experiment: Experiment,
    address: str | None = None,
    *,
    replace: bool = False,
    wait_seconds: float = 60.0,
) -> PullResult:
    """Publish here what is shared: tables, ids of clusters, models, batches, and what was removed.

    Args:
        layout: of the experiment.
        experiment: its parameters.
        address: where from; by default where it was pushed to or pulled from last.
        replace: also where versions are published here that the others have not seen; they go, and batches that were
            ingested here join the versions of the others.
        wait_seconds: how long to wait for an ingestion or a removal.

    Raises:
        ConfigError: no address is known.
        PublishError: what is published here does not come from what is shared.
        DataError: nothing is shared there, or a file is damaged.
        ResourceError: the store cannot be reached, or the disk is full; readers still see the old version.
    """
    address = find_address(layout, address)
    store = open_store(address, layout.experiment)
    fetched: dict[str, int] = {}
    while True:
        head, listing, tag = store.current()
        if head is None:
            raise DataError(
                f"{describe_nothing(layout, store, address)}; see that the address is right and within reach, or push "
                f"from where it is published: facets push {layout.experiment} {address}"
            )
        try:
            fetched |= _fetch(layout, store, _wanted(layout, store, head, listing, replace=replace))
        except Missing:
            if store.head()[1] == tag:
                raise
            continue  # somebody has pushed meanwhile: what was fetched serves the new head, too
        with still(layout, "pull", wait_seconds):
            is_new = _Pull(layout, address, head, _wanted(layout, store, head, listing, replace=replace)).apply()
        if is_new is not None:
            break
    shutil.rmtree(_fetched_folder(layout), ignore_errors=True)
    if not layout.shared.exists():
        note_address(layout, address)
    if read_id_list(layout.removed):
        carry_out_removals(layout, wait_seconds)
    faults: list[str] = []
    with batches_lock(layout, "add batches", wait_seconds):
        added = publish_left(layout, experiment, faults)
    version = History(layout.published).served().version
    n_bytes = sum(fetched.values())
    return PullResult(layout.experiment, address, version, len(fetched), n_bytes, is_new, tuple(added), tuple(faults))


def _wanted(layout: Layout, store: Store, head: Head, listing: Listing, *, replace: bool) -> dict[str, Blob]:
    """Return the files to have; of a share that is behind what is published here only which images were removed.

    Raises:
        PublishError: what is published here does not come from what is shared.
    """
    found = relation(layout, head, listing, store.place)
    if found == "apart" and not replace:
        name = layout.experiment
        raise PublishError(
            f"only one place publishes {name} at a time, but {store.place} holds version {head.version}, which "
            f"{head.by} pushed at {head.pushed}, and others are published here; facets pull {name} --replace takes "
            "that in place of your versions and adds your batches to it again"
        )
    names = listing.files.keys() & {_REMOVED} if found == "ahead" else listing.files.keys() - {*MANIFESTS}
    return {name: listing.files[name] for name in sorted(names)}


def _fetched_folder(layout: Layout) -> Path:
    return layout.workspace / "pull"


def _fetch(layout: Layout, store: Store, files: Mapping[str, Blob]) -> dict[str, int]:
    """Fetch the blobs that are not here, and return them with their sizes."""
    folder = _fetched_folder(layout)
    here = {seen.sha256 for seen in shared_files(layout).values()}
    wanted = {
        blob.name: (name, blob)
        for name, blob in files.items()
        if blob.sha256 not in here and not (folder / blob.name).exists()
    }
    if not wanted:
        return {}
    require_free_space(layout.published, sum(blob.size for _, blob in wanted.values()))

    def fetch(name: str, blob: Blob) -> None:
        store.fetch(blob, folder / blob.name, str(path_of(layout, name).relative_to(layout.root)))

    with ThreadPoolExecutor(THREADS) as threads, progress(f"pull {layout.experiment}", len(wanted), "file") as done:
        for _ in threads.map(lambda pair: fetch(*pair), wanted.values()):
            done.advance()
    return {name: blob.size for name, (_, blob) in wanted.items()}


class _Pull:
    """Puts what was fetched in place; everybody else is kept from changing anything."""

    def __init__(self, layout: Layout, address: str, head: Head, files: Mapping[str, Blob]) -> None:
        self._layout, self._address, self._head, self._files = layout, address, head, files
        self._folder = _fetched_folder(layout)
        self._here = shared_files(layout)
        self._by_hash = {seen.sha256: seen for seen in self._here.values()}

    def apply(self) -> bool | None:
        """Return whether readers see anything new; None where something is still to be fetched."""
        layout = self._layout
        changed = {name: blob for name, blob in self._files.items() if self._differs(name, blob)}
        if not all(self._is_at_hand(blob) for blob in changed.values()):
            return None
        self._merge_removed(changed)
        if self._files.keys() <= {_REMOVED}:
            return False
        self._stage_shards(changed)
        is_new = self._publish(changed)
        exchange_pulled(layout)
        self._take_lists(changed)
        remember(layout, {name: blob.sha256 for name, blob in changed.items() if not name.startswith("lists/")})
        show_served(layout)
        note_head(layout, self._head, self._address)
        return is_new or any(name.startswith("batches/") for name in changed)

    def _differs(self, name: str, blob: Blob) -> bool:
        return name not in self._here or self._here[name].sha256 != blob.sha256

    def _is_at_hand(self, blob: Blob) -> bool:
        return (self._folder / blob.name).exists() or blob.sha256 in self._by_hash

    def _gone(self) -> set[str]:
        """Return the published files here that the others do not have, without models that nobody has published yet."""
        published = {version.model_version for version in load_history(self._layout.published)}
        names = {name.removeprefix("published/") for name in self._here.keys() - self._files.keys() - {*MANIFESTS}}
        names = {name for name in names if not name.startswith(("batches/", "lists/"))}
        return {name for name in names if not name.startswith("models/") or name.split("/")[1] in published}

    def _merge_removed(self, changed: Mapping[str, Blob]) -> None:
        """Put removed images on the list here before anything else: from then on nothing brings them back."""
        blob = changed.get(_REMOVED)
        if blob is not None:
            self._write_list(
                self._layout.removed, {*read_id_list(self._source(blob)), *read_id_list(self._layout.removed)}
            )

    def _take_lists(self, changed: Mapping[str, Blob]) -> None:
        layout = self._layout
        if "lists/joined.json" in changed:
            rows = History(layout.published).rows("batches")
            removed = {row["batch_id"] for row in rows if row["status"] == "removed"}
            joined = {*read_id_list(self._source(changed["lists/joined.json"])), *read_id_list(layout.joined)}
            self._write_list(layout.joined, joined - removed)
        if "lists/history.json" in changed and not layout.history.exists():
            self._place(changed["lists/history.json"], layout.history)

    def _write_list(self, path: Path, ids: set[str]) -> None:
        if ids != {*read_id_list(path)}:
            write_json(path, sorted(ids))
            remember_tracked(self._layout, path)

    def _stage_shards(self, changed: Mapping[str, Blob]) -> None:
        """Make a hidden folder of each batch that is new or another one than here."""
        for batch_id in sorted({name.split("/")[1] for name in changed if name.startswith("batches/")}):
            prefix = f"batches/{batch_id}/"
            with pulled_folder(self._layout, self._head.version, batch_id) as folder:
                for name, blob in self._files.items():
                    if name.startswith(prefix):
                        self._place(blob, folder / name.removeprefix(prefix))

    def _publish(self, changed: Mapping[str, Blob]) -> bool:
        """Bring the tables in line in one step; tell whether there was anything to do."""
        published, withdrawn, gone = self._layout.published, self._withdrawn(changed), self._gone()
        ours = {
            f"{before}{version_file(number)}" for number in withdrawn for before in ("published/", "published/copies/")
        }
        files = {name: blob for name, blob in changed.items() if name.startswith("published/") and name not in ours}
        current = History(published).current()
        if not files and not gone and current is not None and current.version == self._head.version:
            return False
        with step(published) as folder:
            for name, blob in files.items():
                self._place(blob, folder / name.removeprefix("published/"))
            plan(folder, self._head.version, obsolete=gone, withdrawn=withdrawn)
        return True

    def _withdrawn(self, changed: Mapping[str, Blob]) -> dict[int, str]:
        """Return the version that readers see now, if it is withdrawn: only once they see another one it may be so."""
        current = History(self._layout.published).current()
        blob = None if current is None else changed.get(f"published/{version_file(current.version)}")
        if current is None or blob is None or current.version == self._head.version:
            return {}
        reason = read_sealed(self._source(blob)).get("withdrawn")
        return {} if reason is None else {current.version: reason}

    def _source(self, blob: Blob) -> Path:
        fetched = self._folder / blob.name
        return fetched if fetched.exists() else self._by_hash[blob.sha256].path

    def _place(self, blob: Blob, target: Path) -> None:
        """Put a file in place that shares no block of the disk with any other one that stays."""
        source = self._source(blob)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.parent == self._folder and source.stat().st_nlink == 1:
            try:
                os.link(source, target)
                return
            except OSError:  # another disk, or none that knows links
                pass
        copy_bytes(source, target)
