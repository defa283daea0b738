"""Whether anything changed since the last rebuild, answered without starting DVC."""

import hashlib
from contextlib import suppress
from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.core.storage import read_json, write_json
from pipeline.datasets.prepare.id_list import read_id_list

_LIBRARY = Path(__file__).parents[1]


def fingerprint(layout: Layout) -> str:
    """Return a hash of parameters, code, pinned source, id lists, hints, ``dvc.lock`` and the state of the outputs.

    Outputs count by size and time of change: deleting or editing one causes a rebuild.
    """
    digest = hashlib.sha256()
    root = layout.root
    files = [root / "params.yaml", root / "dvc.yaml", root / "dvc.lock", layout.source_manifest]
    files += [layout.resolved, layout.hints, layout.hint_pairs]
    for folder in (root / "pipeline" if (root / "pipeline").exists() else _LIBRARY, root / "stages"):
        # Not Python alone: the page is made of scripts, a style and a template; a shell script starts the stages.
        files += sorted(path for path in folder.rglob("*") if _is_code(path))
    for path in files:
        digest.update(f"{path.relative_to(root if path.is_relative_to(root) else _LIBRARY.parent)}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest() if path.exists() else b"-")
    for ids in (read_id_list(layout.joined), read_id_list(layout.removed)):
        digest.update("\n".join(ids).encode())
    outputs = [
        layout.prepared,
        *(layout.artifact(name) for name in ("init", "model", "score", "assignments", "report")),
    ]
    for folder in outputs:
        for path in sorted(folder.rglob("*")):
            stat = path.stat()
            digest.update(f"{path.relative_to(root)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    digest.update((layout.published / "manifest.json").exists().to_bytes())
    return digest.hexdigest()


def is_up_to_date(layout: Layout) -> bool:
    """Tell whether nothing has changed since :func:`remember` was called last."""
    # A damaged fingerprint counts as missing; the next rebuild writes a new one.
    with suppress(DataError):
        return read_json(_kept(layout)) == fingerprint(layout)
    return False


def remember(layout: Layout) -> None:
    """Keep the present fingerprint, after a rebuild that published or found nothing to do."""
    write_json(_kept(layout), fingerprint(layout))


def _is_code(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")


def _kept(layout: Layout) -> Path:
    return layout.root / ".work" / layout.experiment / "fingerprint.json"
