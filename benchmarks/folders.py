"""What a stranger meets: ``facets new`` and ``facets rebuild`` without edits, on folders of many kinds.

python -m benchmarks.folders [KIND ...] [--path FOLDER[=TRUTH.csv] ...]

A kind is drawn here (see ``benchmarks/drawn.py``); a path is a folder of one's own, with a table of the truth if there
is one. Both commands run as a person would run them, in a fresh clone of the last commit; what is published is compared
with the truth, which no command sees. A line a folder is appended to ``results/folders.jsonl``.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sklearn.metrics import normalized_mutual_info_score

from benchmarks.drawn import KINDS
from benchmarks.lines import RESULTS
from benchmarks.machine import describe_machine
from pipeline.config import load_params
from pipeline.core.groups import read_groups
from pipeline.core.layout import Layout
from pipeline.tables import read

_HERE = Path(__file__).parents[1]
_NAME = "mine"
_MOST_CLASSES = 50


def main() -> None:
    """Try each folder, print a line and write it down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.folders")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--path", action="append", default=[], metavar="FOLDER[=TRUTH.csv]")
    arguments = parser.parse_args()
    for given in arguments.path:
        folder, _, truth = given.partition("=")
        _write(_try(Path(folder).resolve(), Path(truth) if truth else None))
    for kind in arguments.kinds or ([] if arguments.path else list(KINDS)):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / kind
            truth = KINDS[kind](folder)
            _write(_try(folder, truth))


def _try(folder: Path, truth: Path | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "clone"
        subprocess.run(["git", "clone", "-q", _HERE, root], check=True)
        (root / ".venv").symlink_to(Path(sys.executable).parents[1])
        new = _facets(root, folder, "new", _NAME, str(folder), "--json")
        found: dict[str, Any] = {"folder": folder.name, "new": new}
        if new["code"] == 0:
            proposal = json.loads(new.pop("out"))
            found |= {"setting": _setting(root), "notes": proposal["notes"], "predicted_seconds": proposal["seconds"]}
            rebuild = found["rebuild"] = _facets(root, folder, "rebuild", _NAME, "--json")
            (result,) = json.loads(rebuild.pop("out") or "[null]")
            found["changes"] = result and result["changes"]
            found["facets"] = _compare(root, truth, len(_setting(root)["latent_dims"])) if rebuild["code"] == 0 else []
        return found


def _facets(root: Path, folder: Path, *arguments: str) -> dict[str, Any]:
    start = time.monotonic()
    command = [str(root / ".venv/bin/python"), "bin/facets", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    seconds = round(time.monotonic() - start, 1)
    said = done.stderr.strip().splitlines()[-1:] if done.returncode else []
    said = [line.replace(str(folder), folder.name) for line in said]  # where folders lie is nobody's business
    return {"seconds": seconds, "code": done.returncode, "said": said, "out": done.stdout}


def _setting(root: Path) -> dict[str, Any]:
    experiment = load_params(root).experiment(_NAME)
    model = experiment.model
    return {
        "size": experiment.preprocess.size,
        "latent_dims": model.latent_dims,
        "n_components": model.n_components,
        "sigma": model.sigma,
    }


def _compare(root: Path, truth: Path | None, n_facets: int) -> list[dict[str, Any]]:
    paths = read(_NAME, "images", columns=["image_id", "path"], root=root).set_index("image_id")["path"]
    labels = _labels(truth) if truth is not None else {}
    groups = read_groups(Layout(root, _NAME).artifact("model"))
    if groups is None:
        raise RuntimeError("a rebuild must leave groups beside the model")
    facets = []
    for j in range(n_facets):
        table = read(_NAME, f"facet_{j}", columns=["image_id", "cluster_id"], root=root)
        names = paths.loc[table["image_id"]]
        line: dict[str, Any] = {"images": len(table), "clusters": len(set(table["cluster_id"]))}
        of_component = groups.facets[j].component_group
        line["groups"] = groups.facets[j].n_groups
        for column, of_file in labels.items():
            pairs = zip(names, table["cluster_id"], strict=True)
            known = [(of_file[name], cluster) for name, cluster in pairs if name in of_file]
            line[column] = _nmi(known)
            line[f"{column}, groups"] = _nmi([(label, int(of_component[cluster])) for label, cluster in known])
        facets.append(line)
    return facets


def _nmi(pairs: Sequence[tuple[str, int]]) -> float:
    return round(float(normalized_mutual_info_score(*zip(*pairs, strict=True))), 3)


def _labels(truth: Path) -> dict[str, dict[str, str]]:
    """Return the classes of every column, by file name."""
    with truth.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    first, *columns = rows[0]
    tables = {column: {row[first]: row[column] for row in rows} for column in columns}
    return {column: table for column, table in tables.items() if len(set(table.values())) <= _MOST_CLASSES}


def _write(found: dict[str, Any]) -> None:
    print(json.dumps(found, ensure_ascii=False), flush=True)
    line = {**found, "machine": describe_machine()}
    with (RESULTS / "folders.jsonl").open("a") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
