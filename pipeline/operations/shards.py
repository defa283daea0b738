"""Folders of ingested batches: what killed runs left, and batches that lose images. Callers hold the batches lock.

A batch is exchanged for a smaller one in two renames. A complete replacement named ``.replacing-<batch_id>`` commits
the exchange: any later process rolls it forward. One that was pulled, ``.pulled-<version>-<batch_id>``, is as good as
in place once the tables of that version are.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped

from pipeline.core.folder_seal import add_to_seal, is_folder_sealed, rewriting, seal_folder
from pipeline.core.layout import Layout
from pipeline.core.sealed import read_sealed, write_sealed
from pipeline.core.storage import atomic_dir, sync
from pipeline.core.text import counted
from pipeline.core.upgrades import BATCH
from pipeline.datasets.delivery.preparation import model_section, stored_transform
from pipeline.datasets.delivery.shard import copy_shard
from pipeline.datasets.store.images import ImageStore
from pipeline.report import write_thumbnails
from pipeline.tables import History
from pipeline.tables.batches import kept_batches, read_batch
from pipeline.tables.transaction import is_decided

Chooser = Callable[[Shaped[np.ndarray, " image"]], Bool[np.ndarray, " image"]]
"""From image ids as text to which of them to drop."""

N_THUMBNAILS = 48

_REPLACING, _REPLACED, _SHRINKING, _PULLED = ".replacing-", ".replaced-", ".shrinking-", ".pulled-"


def recover_shards(layout: Layout) -> None:
    """Roll interrupted exchanges forward, and delete what unfinished runs left."""
    if not layout.batches.exists():
        return
    for new in layout.batches.glob(f"{_REPLACING}*"):
        _exchange(new, layout.batches / new.name.removeprefix(_REPLACING))
    exchange_pulled(layout)
    for pattern in (f"{_REPLACED}*", f"{_SHRINKING}*", ".*.tmp"):
        for leftover in layout.batches.glob(pattern):
            shutil.rmtree(leftover)


@contextmanager
def pulled_folder(layout: Layout, version: int, batch_id: str) -> Iterator[Path]:
    """Yield a folder for a pulled batch, which is put in place with the tables of a version."""
    with atomic_dir(layout.batches / f"{_PULLED}{version}-{batch_id}") as folder:
        yield folder


def exchange_pulled(layout: Layout) -> None:
    """Put pulled batches in place if the tables that list them are, and delete the others."""
    pulled = list(layout.batches.glob(f"{_PULLED}*"))
    if not pulled or is_decided(layout.published):  # who completes that step calls this again
        return
    version = History(layout.published).current()
    for new in pulled:
        number, _, batch_id = new.name.removeprefix(_PULLED).partition("-")
        if version is not None and version.version >= int(number):
            _exchange(new, layout.batches / batch_id)
        else:
            shutil.rmtree(new)


def shard_folders(layout: Layout) -> Iterator[Path]:
    """Yield the folders of all complete batches, in the order in which they came in.

    Raises:
        DataError: a batch's ``batch.json`` does not describe one.
    """
    folders = [path.parent for path in layout.batches.glob("b-*/batch.json")]
    yield from sorted(folders, key=lambda folder: (read_batch(folder)["created"], folder.name))


def unpublished(layout: Layout) -> list[str]:
    """Return the batches on disk that readers do not see yet, because a run was killed before it could publish."""
    known = set(kept_batches(History(layout.published).rows("batches"), layout.batches))
    return [folder.name for folder in shard_folders(layout) if folder.name not in known]


def describe_left(layout: Layout) -> str:
    """Say how many batches readers do not see yet, and what publishes them; nothing where there is none.

    One that is being ingested in this moment counts, too.

    Raises:
        DataError: a record is damaged.
    """
    left = unpublished(layout) if History(layout.published).current() is not None else []
    if not left:
        return ""
    command = f"facets pull {layout.experiment}" if layout.shared.exists() else "the next facets ingest"
    waits, them = ("waits", "it") if len(left) == 1 else ("wait", "them")
    return f"{counted(len(left), 'batch')} of yours {waits} ({', '.join(left)}): {command} adds {them}"


def update_record(folder: Path, **changes: Any) -> None:
    """Change entries of a batch's ``batch.json``."""
    path = folder / "batch.json"
    with rewriting(folder, ["batch.json"]):
        write_sealed(path, {**BATCH.upgrade(read_sealed(path), str(path)), **changes})


def seal_shard(folder: Path) -> None:
    """State the digests of a batch's files, unless it was done before, and keep a second copy of its record."""
    if not is_folder_sealed(folder):
        seal_folder(folder, ["batch.json"])


def draw_thumbnails(folder: Path, model: Path) -> None:
    """Write the pictures of a batch for the page, at the size of a published model, unless they are there.

    Args:
        folder: of the batch.
        model: folder of the model.
    """
    if not (folder / "thumbnails").exists():
        with ImageStore(folder / "shard.h5", stored_transform(model)) as store:
            n_shown = min(N_THUMBNAILS, store.n_images)
            ids = store.image_ids(0, n_shown).tolist()
            images = store.read_pictures(0, n_shown)
        write_thumbnails(folder / "thumbnails", images, ids, model_section(model, "report").sprite_size)
    add_to_seal(folder, [f"thumbnails/{path.name}" for path in (folder / "thumbnails").iterdir()])


def shrink_shard(folder: Path, choose: Chooser) -> bool:
    """Drop images from a batch, whose id and remaining image ids stay; a batch without images goes as a whole.

    The pictures for the page go too; :func:`draw_thumbnails` draws them anew.

    Args:
        folder: of the batch.
        choose: tells which images to drop.

    Returns:
        Whether any images are left.
    """
    with ImageStore(folder / "shard.h5") as store:
        ids = store.image_ids()
    drop = ids[choose(ids)].tolist()
    return _write_anew(folder, drop) if drop else True


def renew_shard(folder: Path) -> None:
    """Give the images of a batch of an earlier release the ids of today; the pictures for the page go, too.

    Raises:
        DataError: the shard is damaged; it stays as it is.
    """
    _write_anew(folder, [])


def _write_anew(folder: Path, drop: list[str]) -> bool:
    scratch = folder.with_name(f"{_SHRINKING}{folder.name}")
    n_left = copy_shard(folder, scratch, drop)
    if not n_left:
        _delete(folder)
        return False
    update_record(scratch, n_images=n_left)
    if is_folder_sealed(folder):
        seal_shard(scratch)
    new = folder.with_name(f"{_REPLACING}{folder.name}")
    scratch.rename(new)
    _exchange(new, folder)
    return True


def _exchange(new: Path, target: Path) -> None:
    old = _set_aside(target)
    new.rename(target)
    sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _delete(folder: Path) -> None:
    old = _set_aside(folder)
    sync(folder.parent)
    shutil.rmtree(old)


def _set_aside(folder: Path) -> Path:
    """Take a folder out of sight in one rename; where that happened already, do nothing."""
    old = folder.with_name(f"{_REPLACED}{folder.name}")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    return old
