"""How many published images lie in each pair of clusters of two facets."""

from collections.abc import Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from pipeline.core.errors import DataError
from pipeline.core.sealed import read_sealed, write_sealed
from pipeline.table_format.schema import facet_table
from pipeline.tables.lists import load_entries
from pipeline.tables.parts import part_rows
from pipeline.tables.place import Place
from pipeline.tables.verified import require_sound
from pipeline.tables.versions import Version

_MEMORY = "crosses.json"

Counts = dict[tuple[int, int], Int64[np.ndarray, "component other"]]


def cross_counts(published: Path, version: Version) -> Counts:
    """Count the images of a version by component, for every pair of facets (i, j), i < j.

    Rows are matched by their place: nothing is published whose facets list other images, or in another order. A batch
    that joins what was counted before is all that is read, so that time does not grow with what is published: the last
    counts are remembered in ``.work``, which may be lost.

    Raises:
        DataError: a file is missing, damaged or another one.
        ResourceError: the counts cannot be remembered.
    """
    memory = published.parents[1] / ".work" / published.name / _MEMORY
    place, sizes = Place(published), [len(totals.sizes) for totals in version.totals]
    pairs = list(combinations(range(len(sizes)), 2))
    if not pairs:
        return {}
    facets = [facet_table(facet) for facet in range(len(sizes))]
    batches = [[entry.parts[facet] for facet in facets] for entry in load_entries(place, version)]
    wanted = {" ".join(part.hash for part in parts): parts for parts in batches}
    counts = {(i, j): np.zeros((sizes[i], sizes[j]), np.int64) for i, j in pairs}
    covered = set[str]()
    with suppress(DataError, FileNotFoundError):
        known = read_sealed(memory)
        if wanted.keys() >= set(known["covers"]):  # else images were removed, or another model assigned them
            covered = set(known["covers"])
            counts = {pair: np.array(table, np.int64) for pair, table in zip(pairs, known["counts"], strict=True)}
    missing = [parts for key, parts in wanted.items() if key not in covered]
    for parts in missing:
        require_sound(place, parts)
        _add(counts, [published / part.file for part in parts])
    if missing:
        write_sealed(memory, {"covers": sorted(wanted), "counts": [table.tolist() for table in counts.values()]})
    return counts


def _add(counts: Counts, files: Sequence[Path]) -> None:
    for rows in zip(*(part_rows(file, ["cluster_id"]) for file in files), strict=True):
        ids = [batch.column("cluster_id").to_numpy().astype(np.int64) for batch in rows]
        for (i, j), table in counts.items():
            cells = np.ravel_multi_index((ids[i], ids[j]), table.shape)
            table += np.bincount(cells, minlength=table.size).reshape(table.shape)
