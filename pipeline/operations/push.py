"""What is published here becomes what is shared."""

import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.config.sections import Experiment
from pipeline.core.errors import BusyError, ConfigError, PipelineError, PublishError
from pipeline.core.layout import Layout
from pipeline.core.progress import progress
from pipeline.core.storage import file_sha256
from pipeline.datasets.prepare.id_list import read_id_list
from pipeline.operations.ingest import publish_left
from pipeline.operations.locks import batches_lock, publish_lock, user_name
from pipeline.operations.shards import recover_shards
from pipeline.operations.shared import (
    Seen,
    describe_nothing,
    find_address,
    held_version,
    is_unchanged,
    note_address,
    note_head,
    relation,
    shared_files,
)
from pipeline.sharing import Blob, Head, Listing, Overtaken, Store, open_store
from pipeline.tables import History

THREADS = 16
"""Transfers at once: of small files most of the time is waiting."""

_ROUNDS = 20


@dataclass(frozen=True)
class PushResult:
    """What was sent.

    Attributes:
        experiment: its name.
        address: where it is shared.
        version: the published version that others get now.
        sent: files that were not there.
        n_bytes: of these.
        deleted: files there that nothing needs any more.
        is_new: whether others see something new.
        refuses_second: whether the store itself refuses a second publisher at any moment.
        added: batches that killed runs had left.
        faults: why others of them could not be published.
    """

    experiment: str
    address: str
    version: int
    sent: int
    n_bytes: int
    deleted: int
    is_new: bool
    refuses_second: bool
    added: tuple[str, ...]
    faults: tuple[str, ...]


def push(
    layout: Layout,
    experiment: Experiment,
    address: str | None = None,
    *,
    replace: bool = False,
    wait_seconds: float = 60.0,
) -> PushResult:
    """Send what others lack, then let the head name it. What was sent before is not sent again.

    Batches of killed runs are published first.

    Args:
        layout: of the experiment.
        experiment: its parameters.
        address: where to; by default where it was pushed last.
        replace: also where what is shared is damaged, gone, or not what the versions here come from.
        wait_seconds: how long to wait for an ingestion or a removal.

    Raises:
        ConfigError: no address is known, nothing can be sent to it, or it is a folder in the project or in none.
        PublishError: nothing is published here, or others have pushed what is not known here.
        BusyError: what is published changes all the while.
        ResourceError: the store cannot be reached.
    """
    address = find_address(layout, address)
    _require_place(layout, address)
    store = open_store(address, layout.experiment, write=True)
    sent: dict[str, int] = {}
    added: list[str] = []
    faults: list[str] = []
    for _ in range(_ROUNDS):
        with still(layout, "push", wait_seconds) as history:
            history.served()
            history.require_sound()
        head, before, tag = store.salvaged() if replace else store.current()
        if not replace:
            if head is None:
                _require_new(layout, store, address)
            else:
                _require_successor(layout, store, head, before)
        with batches_lock(layout, "add batches", wait_seconds):  # not before: they may have to join what others pushed
            added += publish_left(layout, experiment, faults)
        files = shared_files(layout)
        listing = _listing(files, before, head)
        sent |= _send(layout, store, files, listing)
        with still(layout, "push", wait_seconds):
            if shared_files(layout) != files:
                continue
            try:
                pushed = head if listing == before and head is not None else _swap(layout, store, head, listing, tag)
            except Overtaken:
                continue
            note_head(layout, pushed, address)
        note_address(layout, address)
        deleted = _delete_unused(store, pushed, listing)
        return PushResult(
            layout.experiment,
            address,
            pushed.version,
            sent=len(sent),
            n_bytes=sum(sent.values()),
            deleted=deleted,
            is_new=pushed != head,
            refuses_second=store.refuses_second,
            added=tuple(added),
            faults=tuple(dict.fromkeys(faults)),
        )
    raise BusyError(
        f"what {layout.experiment} publishes must stay as it is for a moment, but changes; push again later"
    )


@contextmanager
def still(layout: Layout, purpose: str, wait_seconds: float) -> Iterator[History]:
    """Keep everybody from changing what is shared, after completing what was cut off.

    Raises:
        BusyError: somebody does, all the while.
    """
    with batches_lock(layout, purpose, wait_seconds), publish_lock(layout, purpose):
        history = History(layout.published)
        history.recover()
        recover_shards(layout)
        yield history


def _require_place(layout: Layout, address: str) -> None:
    """Refuse a folder that a slip of the pen or an unmounted disk would make."""
    folder, name = Path(address), layout.experiment
    if "://" in address:
        return
    if folder.resolve().is_relative_to(layout.root.resolve()):
        raise ConfigError(
            f"a share must lie outside of the project, got {folder}; give another address: facets push {name} ADDRESS"
        )
    if not folder.parent.is_dir():
        raise ConfigError(
            f"a share must lie in a folder that exists, got {folder}; make {folder.parent} first, or mount its disk"
        )


def _require_new(layout: Layout, store: Store, address: str) -> None:
    """Refuse a share that is gone, such as one on a disk that is not mounted: it may come back."""
    if held_version(layout, address) is not None:
        raise PublishError(
            f"{describe_nothing(layout, store, address)}; see that it is mounted, or facets push {layout.experiment} "
            "--replace begins it anew"
        )


def _require_successor(layout: Layout, store: Store, head: Head, listing: Listing) -> None:
    name, theirs = layout.experiment, f"version {head.version}, which {head.by} pushed at {head.pushed}"
    found = relation(layout, head, listing, store.place)
    if found == "apart":
        raise PublishError(
            f"only one place publishes {name} at a time, but {store.place} holds {theirs}, and what is published here "
            f"does not come from it; facets pull {name} --replace takes that in place of your versions and adds your "
            f"batches to it again, facets push {name} --replace overwrites it"
        )
    removed = listing.files.get("lists/removed.json")
    if found == "behind" or (removed is not None and not _has_all(layout, store, removed)):
        raise PublishError(
            f"{store.place} must not lose what others pushed, but holds {theirs}; facets pull {name} first"
        )


def _has_all(layout: Layout, store: Store, blob: Blob) -> bool:
    """Tell whether every image on a list of removed ones is on the list here."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "removed.json")
        store.fetch(blob, path, "lists/removed.json")
        return {*read_id_list(path)} <= {*read_id_list(layout.removed)}


def _listing(files: Mapping[str, Seen], before: Listing, head: Head | None) -> Listing:
    known = {blob.sha256: blob for blob in before.files.values()}
    base = 0 if head is None else head.number
    return Listing(
        {
            name: known.get(seen.sha256) or Blob(seen.sha256, base, int(seen.mark.partition(":")[0]))
            for name, seen in files.items()
        }
    )


def _send(layout: Layout, store: Store, files: Mapping[str, Seen], listing: Listing) -> dict[str, int]:
    """Send the blobs that are not there, or only in part, and return them with their sizes."""
    there = store.sizes()
    missing = {
        blob.name: (files[name], blob) for name, blob in listing.files.items() if there.get(blob.name) != blob.size
    }

    def send(seen: Seen, blob: Blob) -> None:
        try:
            store.send(seen.path, blob.name)
        except (PipelineError, FileNotFoundError):
            if is_unchanged(seen):
                raise
        if not is_unchanged(seen):  # then another round sees to it
            store.delete([blob.name])

    if missing:
        with (
            ThreadPoolExecutor(THREADS) as threads,
            progress(f"push {layout.experiment}", len(missing), "file") as done,
        ):
            for _ in threads.map(lambda pair: send(*pair), missing.values()):
                done.advance()
    return {name: blob.size for name, (_, blob) in missing.items()}


def _swap(layout: Layout, store: Store, head: Head | None, listing: Listing, tag: str | None) -> Head:
    version = History(layout.published).served()
    number = 0 if head is None else head.number
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "listing.json")
        path.write_bytes(listing.dump())
        name = f"{file_sha256(path)}-{number}"
        store.send(path, name)
    now, by = datetime.now(UTC).isoformat(timespec="seconds"), f"{user_name(os.geteuid())}@{socket.gethostname()}"
    new = Head(number + 1, name, version.version, version.state, now, by)
    store.swap(new, tag)
    return new


def _delete_unused(store: Store, head: Head, listing: Listing) -> int:
    """Delete what no head needs any more; what others send on top of this head meanwhile bears its number."""
    needed = {*listing.blobs, head.listing}
    bases = {name: Blob.base_of(name) for name in store.sizes() if name not in needed}
    unused = [name for name, base in bases.items() if base is not None and base < head.number]
    store.delete(unused)
    return len(unused)
