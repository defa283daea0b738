"""The page: one HTML file that holds everything it shows and needs no network."""

import base64
import gzip
import hashlib
import html
import json
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.ignores import ignored_words
from pipeline.core.groups import read_groups
from pipeline.core.hint_words import describe_help
from pipeline.core.storage import atomic_file
from pipeline.core.upgrades import PARAMETERS, PICTURES, SCORES, read_model_file, read_record
from pipeline.page.curves import add_accuracies, read_curves
from pipeline.page.files import name_files
from pipeline.page.rows import BatchRow, PageInput
from pipeline.page.scores import dependence_rows, score_rows
from pipeline.page.shifts import shifted_clusters
from pipeline.report.packing import pack

_PACKAGE = files("pipeline.page")

_SCRIPTS = (
    "base",
    "data",
    "pictures",
    "marks",
    "files",
    "aside",
    "overview",
    "clusters",
    "tree",
    "cross",
    "compose",
    "map_view",
    "map",
    "unusual",
    "batches",
    "charts",
    "training",
    "scores",
    "about",
    "details",
    "main",
)


def compose(published: Path, page: PageInput) -> Path:
    """Write ``report.html`` of a published version.

    Args:
        published: folder of the experiment below ``published``; the files of the model in service lie in
            ``models/<model_version>``: ``model.json``, ``history.csv``, ``score/metrics.json`` and ``report/``.
        page: what publishing decided.

    Returns:
        The file written.

    Raises:
        DataError: one of these files is missing or damaged.
        ResourceError: the disk is full, the folder cannot be written, or a newer release wrote one of these files.
    """
    model_dir = published / "models" / page.model_version
    report = model_dir / "report"
    shown = read_record(report / "page.json", PICTURES)
    sprites = {file: report / file for sheet in shown["sheets"].values() for file in sheet["files"]}
    batches = [_batch(batch, page, shown, sprites) for batch in page.batches]
    data = {
        **shown,
        "files": None if page.files is None else name_files(page.files, shown["images"]["ids"]),
        "published": {
            "experiment": page.experiment,
            "version": page.version,
            "created": page.created,
            "model_version": page.model_version,
        },
        "clusters": [asdict(cluster) for cluster in page.clusters],
        "batches": batches,
        "crosses": [
            cross | {"counts": pack(page.crosses[cross["first"], cross["second"]].astype(np.int32))}
            for cross in shown["crosses"]
        ],
        "dependence": dependence_rows(page.crosses),
        "shifted": shifted_clusters(page.batches, [batch for batch in page.batches if batch.status == "live"]),
        "lineage": [asdict(row) for row in page.lineage],
        "aside": [asdict(row) for row in page.aside],
        "copies": page.copies,
        "rejected": [asdict(row) for row in page.rejected],
        **_model_files(model_dir),
    }
    path = published / "report.html"
    with atomic_file(path) as temporary:
        temporary.write_text(_document(page, data, sprites), encoding="utf-8")
    return path


def composer() -> str:
    """Return a digest of what composes pages: code, scripts, style and template of this package."""
    digest = hashlib.sha256()
    folders = [_PACKAGE]
    while folders:
        for found in sorted(folders.pop().iterdir(), key=lambda path: path.name):
            if found.is_file():
                digest.update(f"{found.name}\n".encode() + hashlib.sha256(found.read_bytes()).digest())
            elif found.name != "__pycache__":
                folders.append(found)
    return digest.hexdigest()


def _batch(batch: BatchRow, page: PageInput, shown: dict[str, Any], sprites: dict[str, Path]) -> dict[str, Any]:
    """Return a batch for the page, and add its thumbnails to the page's sprites."""
    files = page.files
    # Where a delivery lay is a path, too.
    record = asdict(batch) | {"thumbnails": None, "source": None if files is None else batch.source}
    record["shifted"] = None if batch.status == "source" else shifted_clusters(page.batches, [batch])
    if batch.thumbnails is None:
        return record
    pictures = read_record(batch.thumbnails / "page.json", PICTURES)
    name = f"batch-{batch.batch_id}"
    sheet = pictures["sheets"]["images"]
    own = {f"{name}-{file}": batch.thumbnails / file for file in sheet["files"]}
    sprites.update(own)
    shown["sheets"][name] = sheet | {"files": list(own)}
    ids = pictures["images"]["ids"]
    named = None if files is None else name_files(files, ids)
    return record | {"thumbnails": {"sheet": name, "ids": ids, "files": named}}


def _model_files(model_dir: Path) -> dict[str, Any]:
    metrics, model = read_record(model_dir / "score" / "metrics.json", SCORES), read_model_file(model_dir)
    return {
        "model": model,
        "help": describe_help(model["hints"], metrics["hints"]),
        "groups": _groups(model_dir),
        "ignored": _ignored(model_dir),
        "scores": score_rows(metrics),
        # Absent from models that were published before it was measured.
        "curves": add_accuracies(
            read_curves(model_dir / "history.csv"), metrics.get("epochs", {}), metrics["epochs_of"]
        ),
    }


def _groups(model_dir: Path) -> dict[str, Any] | None:
    """Return what is known of the groups of every facet, with their trees; None for models of earlier releases."""
    groups = read_groups(model_dir)
    if groups is None:
        return None
    return {"compared_with": groups.compared_with, "facets": [asdict(facet) for facet in groups.facets]}


def _ignored(model_dir: Path) -> list[list[str]]:
    """Return in words what each facet was trained not to see; nothing where none was."""
    train = read_record(model_dir / "params.json", PARAMETERS)["train"]
    return [ignored_words(ignored or {}) for ignored in train["ignores"] or ()]


def _document(page: PageInput, data: dict[str, Any], sprites: dict[str, Path]) -> str:
    parts = {
        "TITLE": html.escape(f"{page.experiment} · version {page.version}"),
        "STYLE": _asset("style.css"),
        "DATA": _json(data),
        "SPRITES": "\n".join(_block(f"sprite:{name}", path.read_bytes()) for name, path in sorted(sprites.items())),
        "PLOTLY": _block("plotly", _plotly()),
        "SCRIPT": "\n".join(_asset(f"{name}.js") for name in _SCRIPTS),
    }
    before, *rest = _asset("page.html").split("{{")
    filled = [before]
    for piece in rest:
        name, after = piece.split("}}", 1)
        filled += [parts[name], after]
    return "".join(filled)


def _block(name: str, content: bytes) -> str:
    return f'<script type="text/plain" id="{name}">{base64.b64encode(content).decode()}</script>'


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Inside a script element only these could end it early or open a comment.
    return text.replace("<", "\\u003c")


def _asset(name: str) -> str:
    return (_PACKAGE / "static" / name).read_text(encoding="utf-8")


@cache
def _plotly() -> bytes:
    """Return plotly.js, compressed: the page unpacks it when its first chart is opened."""
    source = files("plotly") / "package_data" / "plotly.min.js"
    return gzip.compress(source.read_bytes(), compresslevel=9, mtime=0)
