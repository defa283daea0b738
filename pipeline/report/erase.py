"""Removal of images from what stage report and ingestion wrote for the page."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from pipeline.core.errors import DataError
from pipeline.core.image_ids import ContentSet, parse_ids
from pipeline.core.storage import write_json
from pipeline.core.upgrades import PICTURES, read_record
from pipeline.report.packing import unpack
from pipeline.report.sprites import Sheet, blank_cells


def erase_images(folder: Path, image_ids: Collection[str]) -> int:
    """Blank images in a report folder: their pixels wherever they stand, their ids, every picture decoded from them.

    Args:
        folder: output of stage report or its published copy, or a thumbnail folder.
        image_ids: what to remove.

    Returns:
        How many pictures of the data were blanked. The page leaves out what has no id.
    """
    path = folder / "page.json"
    page = read_record(path, PICTURES)
    ids = page["images"]["ids"]
    indices = _shown(page, image_ids)
    if not indices:
        return 0
    blank_cells(folder, Sheet.from_json(page["sheets"]["images"]), indices)
    page["images"]["ids"] = [None if index in indices else image_id for index, image_id in enumerate(ids)]
    for sheet, places in (page.get("nearest") or {}).items():
        shown = np.flatnonzero(np.isin(unpack(places), indices))
        blank_cells(folder, Sheet.from_json(page["sheets"][sheet]), shown.tolist())
    if page.get("swaps"):
        _blank_swaps(folder, page, set(indices))
    write_json(path, page)
    return len(indices)


def shows_any(folder: Path, image_ids: Collection[str]) -> bool:
    """Tell whether a report folder shows any of some images.

    Raises:
        DataError: its page is missing or damaged.
    """
    path = folder / "page.json"
    try:
        return bool(_shown(read_record(path, PICTURES), image_ids))
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} must describe a page, but {error!r}; run facets check --repair") from None


def _shown(page: dict, image_ids: Collection[str]) -> list[int]:
    """Return which pictures of a page are of some images, whichever release the ids are of."""
    ids = page["images"]["ids"]
    places = np.array([place for place, image_id in enumerate(ids) if image_id is not None], np.int64)
    hashes, _ = parse_ids([ids[place] for place in places])
    return places[ContentSet.of_ids(image_ids).has(hashes)].tolist()


def _blank_swaps(folder: Path, page: dict, erased: set[int]) -> None:
    n_facets, n_anchors = unpack(page["swaps"]["cluster_id"]).shape[:2]
    is_gone = np.isin(page["swaps"]["anchors"], sorted(erased))
    touched = np.broadcast_to(is_gone[:, None] | is_gone[None, :], (n_facets, n_anchors, n_anchors))
    blank_cells(folder, Sheet.from_json(page["sheets"]["swaps"]), np.flatnonzero(touched).tolist())
