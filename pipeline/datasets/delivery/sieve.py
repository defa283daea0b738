"""Which images of a delivery are new and usable."""

from pipeline.core.errors import DataError
from pipeline.core.image_ids import ContentLookup
from pipeline.datasets.delivery.taker import Taker
from pipeline.datasets.readers.block import Block
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

    def __init__(self, transform: Taker, known: ContentLookup, removed: ContentLookup) -> None:
        self.duplicates = 0
        self.quarantined: list[tuple[str, str]] = []
        self._transform = transform
        self._known, self._removed = known, removed
        self._seen: set[bytes] = set()
        self._reasons: dict[Shape, str | None] = {}

    def new_images(self, block: Block) -> Block:
        """Return those of the next images that are taken."""
        self.quarantined += block.rejected
        is_known, is_removed = self._known.has(block.hashes), self._removed.has(block.hashes)
        kept: list[int] = []
        columns = (block.hashes.tolist(), block.shapes.tolist(), is_known.tolist(), is_removed.tolist())
        for row, (content, shape, known, removed) in enumerate(zip(*columns, strict=True)):
            reason = _REMOVED if removed else self._reason(tuple(shape))
            if reason is not None:
                self.quarantined.append((block.paths[row], reason))
            elif known or content in self._seen:
                self.duplicates += 1
            else:
                self._seen.add(content)
                kept.append(row)
        return block.take(kept)

    def _reason(self, shape: Shape) -> str | None:
        if shape not in self._reasons:
            try:
                self._transform.output_shape(shape)
                self._reasons[shape] = None
            except DataError as error:
                self._reasons[shape] = str(error)
        return self._reasons[shape]
