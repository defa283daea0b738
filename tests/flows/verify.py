"""Verifies published tables from their files alone, with nothing of the product: ``python verify.py FOLDER LEDGER``.

The ledger is JSON: ``n_source`` images that the experiment began with, and ``delivered``, the names of all good files
that ever came in, each once. Prints what was found as JSON; ends with
exit code 1 and a reason where something is wrong.
"""

import json
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def main() -> None:
    """Verify and print."""
    folder, ledger = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    versions = sorted((load(path) for path in (folder / "versions").glob("*.json")), key=lambda v: v["version"])
    current = load(folder / load(folder / "manifest.json")["file"])
    demand(current["version"] == versions[-1]["version"], "the manifest must name the newest version")
    images = rows_of(folder, current, "images")
    check_images(images, ledger)
    facets = sorted(name for name in parts_of(folder, current)[0] if name.startswith("facet_"))
    for facet in facets:
        table = rows_of(folder, current, facet)
        demand(
            sorted(column(table, "image_id")) == sorted(column(images, "image_id")), f"{facet} must cover all images"
        )
        demand(set(column(table, "model_version")) == {current["model_version"]}, f"{facet} must be of one model")
    sizes = [version["n_images"] for version in versions]
    demand(sizes == sorted(sizes), f"without a removal no version may have fewer images, got {sizes}")
    result = {
        "version": current["version"],
        "images": images.num_rows,
        "facets": len(facets),
        "models": len({version["model_version"] for version in versions}),
        **check_identity(folder, versions, len(facets)),
    }
    print(json.dumps(result))


def check_images(images: pa.Table, ledger: dict[str, Any]) -> None:
    """Every good file that came in is there, once, under an id of its own."""
    ids = column(images, "image_id")
    demand(len(set(ids)) == len(ids), "an image id must occur once")
    expected = ledger["n_source"] + len(ledger["delivered"])
    demand(len(ids) == expected, f"{expected} images must be there, got {len(ids)}")
    names = Counter(Path(path).name for path in column(images, "path"))
    wrong = [name for name in ledger["delivered"] if names[name] != 1]
    demand(not wrong, f"each delivered file must be there once, but not so {wrong[:5]}")


def check_identity(folder: Path, versions: list[dict[str, Any]], n_facets: int) -> dict[str, int]:
    """A uid is minted once, by one model; one that a new model kept has most images in common with the old one's."""
    minted: dict[str, str] = {}
    for version in versions:
        for row in pq.read_table(folder / version["tables"]["clusters"]["file"]).to_pylist():
            by = minted.setdefault(row["cluster_uid"], row["minted_by"])
            demand(by == row["minted_by"], f"{row['cluster_uid']} was minted twice")
    n_kept = n_new = 0
    for old, new in pairwise(versions):
        if old["model_version"] == new["model_version"]:
            continue
        for facet in range(n_facets):
            before = dict(uids(folder, old, facet))
            after = dict(uids(folder, new, facet))
            shared = before.keys() & after.keys()
            demand(len(shared) == len(before), "a new model must cover all images of the old one")
            together = Counter((before[image], after[image]) for image in shared)
            had, has = Counter(before.values()), Counter(after[image] for image in shared)
            for uid in set(after.values()):
                if uid in had:
                    jaccard = together[uid, uid] / (had[uid] + has[uid] - together[uid, uid])
                    demand(jaccard > 0, f"{uid} was kept without an image in common")
                    n_kept += 1
                else:
                    n_new += 1
                    demand(minted[uid] == new["model_version"], f"{uid} must be new, but {minted[uid]} had it")
        lineage = pq.read_table(folder / new["tables"]["lineage"]["file"]).to_pylist()
        demand(any(row["new_model"] == new["model_version"] for row in lineage), "a new model must have a lineage")
    return {"uids": len(minted), "kept": n_kept, "new": n_new}


def uids(folder: Path, version: dict[str, Any], facet: int) -> list[tuple[str, str]]:
    """Return image id and cluster uid of every row of a facet."""
    table = rows_of(folder, version, f"facet_{facet}")
    return list(zip(column(table, "image_id"), column(table, "cluster_uid"), strict=True))


def rows_of(folder: Path, version: dict[str, Any], name: str) -> pa.Table:
    """Return a table of a version, from all its parts."""
    return pa.concat_tables([pq.read_table(folder / parts[name]["file"]) for parts in parts_of(folder, version)])


def parts_of(folder: Path, version: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of each batch of a version."""
    return [entry["parts"] for part in version["lists"] for entry in load(folder / part["file"])["entries"]]


def column(table: pa.Table, name: str) -> list[str]:
    """Return a column as text."""
    return [str(value) for value in table[name].to_pylist()]


def load(path: Path) -> Any:
    """Return the content of a JSON file."""
    return json.loads(path.read_text())


def demand(holds: bool, rule: str) -> None:
    """End with the rule where it does not hold."""
    if not holds:
        sys.exit(f"verify: {rule}")


if __name__ == "__main__":
    main()
