"""Names of files in the shape in which the page shows, links and searches them."""

from collections.abc import Sequence
from typing import Any

from pipeline.page.rows import Files


def name_files(files: Files, image_ids: Sequence[str | None]) -> dict[str, Any]:
    """Return the paths of images, and the addresses of the folders that they start in.

    Args:
        files: of these images and others.
        image_ids: as the page shows them; None where an image was removed.

    Returns:
        ``paths``, one an image, null where it has none; ``roots``, the addresses; and ``root_of``, for each image the
        place of its address in ``roots``, -1 where no browser could open it.
    """
    found = [None if image_id is None else files.images.get(image_id) for image_id in image_ids]
    roots = sorted({files.roots[file.batch_id] for file in found if file is not None and file.batch_id in files.roots})
    places = {batch_id: roots.index(root) for batch_id, root in files.roots.items() if root in roots}
    return {
        "paths": [None if file is None else file.path for file in found],
        "roots": roots,
        "root_of": [-1 if file is None else places.get(file.batch_id, -1) for file in found],
    }
