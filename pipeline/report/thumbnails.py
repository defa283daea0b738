"""A few pictures of a newly arrived batch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.core.storage import atomic_dir, write_json
from pipeline.core.upgrades import PICTURES
from pipeline.report.sprites import Pictures, thumbnails, write_sheet

N_THUMBNAILS = 48
"""Pictures of a batch on the page."""

_BUDGET = 60_000


def write_thumbnails(folder: Path, images: Pictures, image_ids: Sequence[str], longer_side: int) -> None:
    """Write the first pictures of a batch for the page; the folder appears as a whole.

    Args:
        folder: where to write, e.g. ``thumbnails`` in the batch's folder.
        images: of the batch; those beyond the first 48 are left out.
        image_ids: their ids.
        longer_side: pixels of the longer side of a picture at most.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    chosen = thumbnails(np.asarray(images[:N_THUMBNAILS]), longer_side)
    with atomic_dir(folder) as temporary:
        sheet = write_sheet(temporary, "images", chosen, _BUDGET)
        ids = [str(image_id) for image_id in image_ids[:N_THUMBNAILS]]
        page = PICTURES.stamp({"images": {"ids": ids}, "sheets": {"images": sheet.to_json()}})
        write_json(temporary / "page.json", page)
