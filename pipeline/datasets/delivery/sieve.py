"""Which images of a delivery are new and usable."""

import numpy as np

from pipeline.core.errors import DataError
from pipeline.core.image_ids import HASH_DTYPE, ContentLookup
from pipeline.datasets.decoding.decoded_file import DecodedFile
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.files.location import storable
from pipeline.datasets.store.spec import Shape

_REMOVED = "was removed from this experiment and is not taken again; see facets remove"


class Sieve:
    """Decides for each image of a delivery whether the experiment takes it.

    Args:
        transform: to the model's shape; images that it cannot take are refused.
        known: content of the experiment.
        removed: content that must not come back.

    Attributes:
        duplicates: how many images were left out because their content is there already.
        quarantined: (file, reason) of images that were refused.
    """

    def __init__(self, transform: ImageTransform, known: ContentLookup, removed: ContentLookup) -> None:
        self.duplicates = 0
        self.quarantined: list[tuple[str, str]] = []
        self._transform = transform
        self._known, self._removed = known, removed
        self._seen: set[bytes] = set()
        self._reasons: dict[Shape, str | None] = {}

    def new_images(self, some: list[DecodedFile]) -> list[DecodedFile]:
        """Return those of the next images that are taken."""
        hashes = np.array([file.hash for file in some], HASH_DTYPE)
        is_known, is_removed = self._known.has(hashes), self._removed.has(hashes)
        kept: list[DecodedFile] = []
        for file, known, removed in zip(some, is_known.tolist(), is_removed.tolist(), strict=True):
            reason = file.reason or (_REMOVED if removed else self._reason(file.shape))
            if reason is not None:
                self.quarantined.append((storable(file.name), reason))
            elif known or file.hash in self._seen:
                self.duplicates += 1
            else:
                self._seen.add(file.hash)
                kept.append(file)
        return kept

    def _reason(self, shape: Shape) -> str | None:
        if shape not in self._reasons:
            try:
                self._transform.output_shape(shape)
                self._reasons[shape] = None
            except DataError as error:
                self._reasons[shape] = str(error)
        return self._reasons[shape]
