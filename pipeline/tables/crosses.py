"""How many published images lie in each pair of clusters of two facets."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from pipeline.table_format.schema import facet_table
from pipeline.tables.lists import load_entries
from pipeline.tables.parts import part_rows
from pipeline.tables.place import Place
from pipeline.tables.verified import require_sound
from pipeline.tables.versions import Version

Counts = dict[tuple[int, int], Int64[np.ndarray, "component other"]]


def cross_counts(published: Path, version: Version) -> Counts:
    """Count the images of a version by component, for every pair of facets (i, j), i < j.

    Rows are matched by their place: nothing is published whose facets list other images, or in another order.

    Raises:
        DataError: a file is missing, damaged or another one.
    """
    place, sizes = Place(published), [len(totals.sizes) for totals in version.totals]
    counts = {(i, j): np.zeros((sizes[i], sizes[j]), np.int64) for i, j in combinations(range(len(sizes)), 2)}
    for entry in load_entries(place, version) if counts else ():
        parts = [entry.parts[facet_table(facet)] for facet in range(len(sizes))]
        require_sound(place, parts)
        _add(counts, [published / part.file for part in parts])
    return counts


def _add(counts: Counts, files: Sequence[Path]) -> None:
    for rows in zip(*(part_rows(file, ["cluster_id"]) for file in files), strict=True):
        ids = [batch.column("cluster_id").to_numpy().astype(np.int64) for batch in rows]
        for (i, j), table in counts.items():
            cells = np.ravel_multi_index((ids[i], ids[j]), table.shape)
            table += np.bincount(cells, minlength=table.size).reshape(table.shape)
