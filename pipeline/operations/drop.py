"""An experiment goes, with everything that was made for it; the images that it was made from stay.

Its section goes first, in one step, so that nobody begins to work on it again. Its folders get names of temporary ones,
which takes a moment, and are deleted after that. A drop that was cut off is completed by another one, which needs no
section, and what was left of the folders by any ``facets tidy``.
"""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from pipeline.config import Params, load_params
from pipeline.config.lock_file import says_nothing, without_stages
from pipeline.config.write import without_experiment
from pipeline.core.errors import ConfigError, DataError, ResourceError
from pipeline.core.layout import Layout
from pipeline.core.parquet import open_parquet
from pipeline.core.storage import as_resource_error, atomic_file, disk_usage
from pipeline.core.text import counted
from pipeline.datasets.files.location import is_url, settled
from pipeline.operations.dvc_locks import delete_lock_file, keep_lock_file
from pipeline.operations.locks import batches_lock, next_in_line, publish_lock, repository_lock, service_lock
from pipeline.operations.params_file import change_params, checked_params
from pipeline.operations.run_log import log_run
from pipeline.tables import History
from pipeline.tables.versions import numbers_kept

_SHARED_WORK = ("locks", "logs", "prefect", "repository")
"""What lies in ``.work`` beside the folders of experiments, one of which may have such a name."""


@dataclass(frozen=True)
class DropPart:
    """Something that goes.

    Attributes:
        path: below the root.
        holds: what it is, in words.
        n_bytes: that it takes; 0 for lines of a file that stays.
    """

    path: str
    holds: str
    n_bytes: int


@dataclass(frozen=True)
class DropPlan:
    """What goes with an experiment, and what of it stays.

    Attributes:
        experiment: its name.
        parts: what goes, in the order in which it does.
        stays: what somebody might miss in that list, and why.
    """

    experiment: str
    parts: tuple[DropPart, ...]
    stays: tuple[str, ...]


def plan_drop(root: Path, name: str) -> DropPlan:
    """Return what dropping an experiment would delete; nothing is changed.

    Raises:
        ConfigError: there is nothing of that name; or ``params.yaml`` would not be legal without it, shares values of
            its section, or has a source that lies in what would go.
        DataError: ``dvc.lock`` is damaged.
    """
    layout, params = Layout(root, name), load_params(root)
    parts = [*_sections(layout, params), *_stages(layout)]
    parts += [DropPart(_shown(layout, path), holds, path.stat().st_size) for path, holds in _files(layout)]
    parts += [_folder_part(layout, path, holds) for path, holds in _folders(layout)]
    if not parts:
        raise ConfigError(
            f"experiment {name!r} is unknown, and nothing of it lies here; params.yaml has "
            f"{', '.join(sorted(params.experiments))}"
        )
    _require_no_source(layout, params)
    return DropPlan(name, tuple(parts), tuple(_stays(layout, params)))


def drop(root: Path, name: str) -> DropPlan:
    """Delete an experiment, and return what that was. Runs that were cut off are completed.

    Raises:
        BusyError: another process works on it, or the service of the repository runs.
        ConfigError: see :func:`plan_drop`; nothing is changed.
        DataError: likewise.
        ResourceError: something cannot be deleted.
    """
    layout = Layout(root, name)
    with _alone(layout), as_resource_error(root):
        plan = plan_drop(root, name)
        change_params(root, f"drop {name}", partial(_params_without, name))
        if (root / "dvc.lock").exists():
            left = _lock_without(layout)[0]
            if says_nothing(left):
                delete_lock_file(root)
            else:
                _write(root / "dvc.lock", left)
                keep_lock_file(root)
        for path, _ in _files(layout):
            path.unlink()
        with suppress(OSError):  # deliveries are not ours
            layout.inbox.rmdir()
        for path in [_set_aside(path) for path, _ in _folders(layout)]:
            _delete(path)
        log_run(root, "drop", asdict(plan))
    return plan


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """Hold every lock that whoever works on the experiment would hold, the service's first: it starts the others."""
    purpose = f"drop {layout.experiment}"
    with ExitStack() as stack:
        stack.enter_context(service_lock(layout.root, purpose))
        stack.enter_context(next_in_line(layout))
        stack.enter_context(repository_lock(layout.root, purpose))
        stack.enter_context(batches_lock(layout, purpose))
        stack.enter_context(publish_lock(layout, purpose, wait_seconds=0.0))
        yield


def _sections(layout: Layout, params: Params) -> Iterator[DropPart]:
    name = layout.experiment
    if name in params.experiments:
        _params_without(name, _read(layout.root / "params.yaml"), params)
        place = ", and its place in active" if name in params.active else ""
        yield DropPart("params.yaml", f"its section{place}", 0)


def _stages(layout: Layout) -> Iterator[DropPart]:
    n_stages = _lock_without(layout)[1]
    if n_stages:
        yield DropPart("dvc.lock", counted(n_stages, "stage"), 0)


def _files(layout: Layout) -> list[tuple[Path, str]]:
    """Return the small files of an experiment that are there."""
    files = {
        layout.source_manifest: "what its source consisted of",
        layout.source_manifest.with_suffix(".files.parquet"): "the files of its source",
        layout.joined: "which batches joined the training",
        layout.removed: "which images were removed",
        layout.history: "that it was published",
        layout.shared: "where it is shared; what lies there stays",
        layout.names: "names of clusters",
        layout.hints: "hints about images",
        layout.hint_pairs: "hints about pairs of images",
    }
    return [(path, holds) for path, holds in files.items() if os.path.lexists(path)]


def _folders(layout: Layout) -> list[tuple[Path, Callable[[], str]]]:
    """Return the folders of an experiment that are there, each with what says what is in it; rests of them, too."""
    name = layout.experiment
    folders: dict[Path, Callable[[], str]] = {
        layout.published: lambda: _published(layout),
        layout.batches: lambda: counted(len(list(layout.batches.glob("b-*"))), "ingested batch"),
        layout.prepared: lambda: _prepared(layout),
        layout.artifact("model").parent: lambda: "models and what else its stages made",
        layout.ask: lambda: "questions about its images",
    }
    if name not in _SHARED_WORK:
        folders[layout.workspace] = lambda: "resume files and memories"
    found = [(path, holds) for path, holds in folders.items() if os.path.lexists(path)]
    for path in folders:
        found += [(rest, lambda: "left of a run that was cut off") for rest in path.parent.glob(f".{name}.*.tmp")]
    return found


def _folder_part(layout: Layout, path: Path, holds: Callable[[], str]) -> DropPart:
    if path.is_symlink():
        return DropPart(_shown(layout, path), f"a link; what it leads to, {path.readlink()}, stays", 0)
    return DropPart(_shown(layout, path), holds(), disk_usage(path))


def _published(layout: Layout) -> str:
    with suppress(DataError, ResourceError):
        current = History(layout.published).current()
        if current is not None:
            versions = counted(len(numbers_kept(layout.published)), "version")
            return f"{versions}, the newest of {counted(current.n_images, 'image')}"
    return "no whole version"


def _prepared(layout: Layout) -> str:
    with suppress(DataError), open_parquet(layout.prepared / "images.parquet") as file:
        return counted(file.metadata.num_rows, "image") + " at model size"
    return "prepared images"


def _stays(layout: Layout, params: Params) -> Iterator[str]:
    found = params.experiments.get(layout.experiment)
    if found is not None and found.preprocess.path is not None:
        yield f"{found.preprocess.path}: your images"
    elif found is not None:
        yield f"{_shown(layout, layout.raw)}: what experiments share"
    n_delivered = sum(path.is_file() for path in layout.inbox.rglob("*"))
    if n_delivered:
        yield f"{_shown(layout, layout.inbox)}: {counted(n_delivered, 'file')} delivered there"
    if _lock_without(layout)[1]:
        yield ".dvc/cache: outputs of its stages, until facets tidy of another experiment"


def _require_no_source(layout: Layout, params: Params) -> None:
    """Refuse where images that somebody put there lie in a folder that would go."""
    folders = [os.path.realpath(path) for path, _ in _folders(layout)]
    for name, experiment in params.experiments.items():
        path = experiment.preprocess.path
        if path is None or is_url(path):
            continue
        place = Path(os.path.realpath(settled(layout, path)))
        inside = next((folder for folder in folders if place.is_relative_to(folder)), None)
        if inside is not None:
            raise ConfigError(f"the images of {name} must not lie in {inside}, which would go, got {path}; move them")


def _params_without(name: str, text: str, params: Params) -> str:
    """Return the text of ``params.yaml`` without an experiment, if all others stay what they are."""
    if name not in params.experiments:
        return text
    active = tuple(each for each in params.active if each != name)
    if not active:
        raise ConfigError(f"active in params.yaml must name an experiment besides {name}; add another one to it first")
    changed = without_experiment(text, name)
    left = {other: sections for other, sections in params.experiments.items() if other != name}
    try:
        is_same = checked_params(changed) == Params(active, left)
    except ConfigError:
        is_same = False
    if not is_same:
        raise ConfigError(
            f"other experiments of params.yaml must not need the section of {name}, but share values with it by an "
            "anchor (&…); write these out where they are used"
        )
    return changed


def _lock_without(layout: Layout) -> tuple[str, int]:
    path = layout.root / "dvc.lock"
    return without_stages(_read(path), layout.experiment) if path.exists() else ("", 0)


def _read(path: Path) -> str:
    """Return a text with its own line ends."""
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} must be UTF-8, but {error}; restore it from git") from None


def _write(path: Path, text: str) -> None:
    if not path.exists() or _read(path) != text:
        with atomic_file(path) as temporary:
            temporary.write_bytes(text.encode())


def _set_aside(path: Path) -> Path:
    """Give a folder the name of a temporary one, which readers and later experiments take no notice of."""
    if path.name.endswith(".tmp"):
        return path
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        return path.rename(aside)
    except OSError:  # a disk of its own is mounted there
        return path


def _delete(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink()  # what a link leads to is not ours
    else:
        shutil.rmtree(path)


def _shown(layout: Layout, path: Path) -> str:
    return str(path.relative_to(layout.root))
