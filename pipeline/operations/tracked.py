"""Small files that people keep in git: pinned source, lists of ids, names of clusters, hints.

What a command writes there is copied to ``.work``, because it may be long before somebody commits it. A file is right
if it is as it was committed, or as a command wrote it last; hints, which people write themselves, too, if they can be
read.
"""

from contextlib import suppress
from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.core.git import ask_git
from pipeline.core.layout import Layout
from pipeline.core.sealed import is_sealed, read_sealed, write_sealed
from pipeline.core.storage import atomic_file, read_json
from pipeline.datasets.prepare.hint_files import read_label_hints, read_pair_hints
from pipeline.datasets.prepare.id_list import read_id_list
from pipeline.tables.names import read_names


def remember_tracked(layout: Layout, path: Path) -> None:
    """Keep a second copy of a tracked file that was just written, or of hints as they are, if in UTF-8."""
    if not path.exists():
        return
    with suppress(UnicodeDecodeError):
        text = path.read_text(encoding="utf-8")
        if text != _kept(layout, path):
            write_sealed(_copy(layout, path), {"text": text})


def tracked_faults(layout: Layout) -> dict[Path, str]:
    """Return which tracked files are damaged, and how."""
    return {path: fault for path in _tracked(layout) if (fault := _fault(layout, path))}


def require_lists(layout: Layout) -> None:
    """Refuse to take a lost list of ids, or lost hints, for empty ones: removed images would come back.

    Raises:
        DataError: a list is missing that was there.
    """
    for path in (layout.joined, layout.removed, *_hints(layout)):
        known = None if path.exists() else _kept(layout, path) or _committed(layout, path)
        if known is not None and not _is_empty(known):
            raise DataError(f"{path} is missing; run facets check {layout.experiment} --repair, or restore it from git")


def mend_tracked(layout: Layout) -> None:
    """Put damaged tracked files back, as a command wrote them last, else as committed; replaced ones are kept.

    Where there is no second copy that is whole, one is made of what is right.
    """
    for path in _tracked(layout):
        kept = _kept(layout, path)
        if _fault(layout, path):
            before = kept if kept is not None else _committed(layout, path)
            if before is not None:
                if path.exists() and path.stat().st_size:
                    replaced = layout.root / ".work" / layout.experiment / "replaced" / path.name
                    replaced.parent.mkdir(parents=True, exist_ok=True)
                    path.replace(replaced)
                with atomic_file(path) as temporary:
                    temporary.write_text(before, encoding="utf-8")
        elif kept is None and path.exists():
            remember_tracked(layout, path)


def _tracked(layout: Layout) -> list[Path]:
    return [layout.source_manifest, layout.joined, layout.removed, layout.names, *_hints(layout)]


def _hints(layout: Layout) -> tuple[Path, Path]:
    return layout.hints, layout.hint_pairs


def _is_empty(text: str) -> bool:
    """Tell whether a list has no id, or a table no line below its first."""
    return text.strip() == "[]" or (not text.startswith("[") and len(text.splitlines()) < 2)


def _fault(layout: Layout, path: Path) -> str:
    kept, committed = _kept(layout, path), _committed(layout, path)
    if not path.exists():
        return "is missing" if kept is not None or committed is not None else ""
    try:
        _parse(layout, path)
    except DataError as error:
        return str(error).removeprefix(f"{path} ")
    if path in _hints(layout):
        return ""
    known = [text for text in (kept, committed) if text is not None]
    if known and path.read_text(encoding="utf-8") not in known:
        return "must be as committed or as facets wrote it, but is neither; commit it if somebody changed it on purpose"
    return ""


def _parse(layout: Layout, path: Path) -> None:
    if path in (layout.joined, layout.removed):
        read_id_list(path)
    elif path == layout.names:
        read_names(path)
    elif path == layout.hints:
        read_label_hints(path)
    elif path == layout.hint_pairs:
        read_pair_hints(path)
    elif not isinstance(read_json(path), dict):
        raise DataError(f"{path} must hold a JSON object; restore it from git, or run facets scan")


def _copy(layout: Layout, path: Path) -> Path:
    return layout.root / ".work" / layout.experiment / "tracked" / f"{path.parent.name}-{path.name}.json"


def _kept(layout: Layout, path: Path) -> str | None:
    with suppress(DataError, KeyError):
        record = read_sealed(_copy(layout, path))
        return str(record["text"]) if is_sealed(record) else None
    return None


def _committed(layout: Layout, path: Path) -> str | None:
    if not (layout.root / ".git").exists():
        return None
    shown = ask_git(layout.root, "show", f"HEAD:./{path.relative_to(layout.root)}")
    with suppress(UnicodeDecodeError):
        return None if shown is None else shown.decode()
    return None
