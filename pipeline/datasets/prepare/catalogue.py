"""What is known of every image besides its pixels, about a hundred bytes each, and the order that follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int8, Int32, Int64, Shaped

from pipeline.core.errors import DataError
from pipeline.core.image_ids import HASH_DTYPE, ContentSet, format_ids, leading_bits, parse_ids
from pipeline.core.seeding import derive_seed
from pipeline.datasets.store.identity import number_copies, repeated_pairs
from pipeline.datasets.store.spec import Split

UNDECIDED, TRAIN, TEST = -1, 0, 1
_SPLIT_CODES: dict[Split | None, int] = {None: UNDECIDED, "train": TRAIN, "test": TEST}


@dataclass(frozen=True)
class Columns:
    """The catalogue as arrays, one entry an image in the order of reading.

    Attributes:
        hashes: content hashes.
        copies: 1 for the first image with some content, 2 for the next, …
        split: 0 train, 1 test.
        batch: 0 for the source, 1 for the first joined batch, …
        position: place within its source or batch.
        size: height and width at the source.
        path: where it came from.
        labels: by factor; -1 where unknown.
    """

    hashes: Shaped[np.ndarray, " image"]
    copies: Int64[np.ndarray, " image"]
    split: Int8[np.ndarray, " image"]
    batch: Int32[np.ndarray, " image"]
    position: Int64[np.ndarray, " image"]
    size: Int32[np.ndarray, "image 2"]
    path: pa.ChunkedArray
    labels: Mapping[str, Int32[np.ndarray, " image"]]

    def image_ids(self, rows: Int64[np.ndarray, " image"]) -> Shaped[np.ndarray, " image"]:
        """Return the ids of some images as ASCII bytes."""
        return format_ids(self.hashes[rows], self.copies[rows])

    def rows(self, split: int, removed: ContentSet) -> Int64[np.ndarray, " image"]:
        """Return the images of a split in the order of its store: by batch, then by id.

        Args:
            split: 0 train, 1 test.
            removed: content that must not be used again; all copies of it go.
        """
        usable = (self.split == split) & ~repeated_pairs(self.hashes, self.copies) & ~removed.has(self.hashes)
        rows = np.flatnonzero(usable)
        return rows[np.lexsort((self.copies[rows], self.hashes[rows], self.batch[rows]))]


class Catalogue:
    """Collects the columns block by block: first those of the source, then those of joined batches."""

    def __init__(self) -> None:
        self._hashes: list[np.ndarray] = []
        self._splits: list[np.ndarray] = []
        self._sizes: list[np.ndarray] = []
        self._paths: list[pa.Array] = []
        self._labels: dict[str, list[np.ndarray]] | None = None
        self._joined: list[tuple[np.ndarray, np.ndarray]] = []

    def add(
        self,
        hashes: Shaped[np.ndarray, " image"],
        sizes: Int32[np.ndarray, "image 2"],
        paths: Sequence[str],
        labels: Mapping[str, Int32[np.ndarray, " image"]],
        split: Split | None,
    ) -> None:
        """Append images of the source.

        Raises:
            DataError: the block has other label factors than the blocks before.
        """
        if self._labels is None:
            self._labels = {name: [] for name in labels}
        if set(labels) != set(self._labels):
            raise DataError(
                f"all images of a source must have the same label factors, got {sorted(self._labels)} "
                f"and {sorted(labels)} from {paths[0]} on; complete the labels"
            )
        for name, values in labels.items():
            self._labels[name].append(values)
        self._append(hashes, sizes, paths, np.full(len(hashes), _SPLIT_CODES[split], np.int8))

    def add_joined(self, image_ids: Sequence[str], sizes: Int32[np.ndarray, "image 2"], paths: Sequence[str]) -> None:
        """Append a joined batch; its images have ids already, train, and have no labels."""
        hashes, copies = parse_ids(image_ids)
        self._joined.append((hashes, copies))
        self._append(hashes, sizes, paths, np.full(len(hashes), TRAIN, np.int8))

    def finish(self, test_fraction: float, split_seed: int) -> Columns:
        """Return the columns; images without a prescribed split are split by their content."""
        n_joined = [len(hashes) for hashes, _ in self._joined]
        hashes, split = _concatenate(self._hashes, HASH_DTYPE), _concatenate(self._splits, np.dtype(np.int8))
        n_source = len(hashes) - sum(n_joined)
        undecided = np.flatnonzero(split == UNDECIDED)
        is_test = split_by_content(hashes[undecided], test_fraction, split_seed)
        split[undecided] = np.where(is_test, TEST, TRAIN)
        counts = [n_source, *n_joined]
        return Columns(
            hashes=hashes,
            copies=np.concatenate([number_copies(hashes[:n_source]), *(copies for _, copies in self._joined)]),
            split=split,
            batch=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
            position=np.concatenate([np.arange(count, dtype=np.int64) for count in counts]),
            size=np.concatenate([np.empty((0, 2), np.int32), *self._sizes]),
            path=pa.chunked_array(self._paths, pa.string()),
            labels={
                name: np.concatenate([*values, np.full(sum(n_joined), -1, np.int32)])
                for name, values in (self._labels or {}).items()
            },
        )

    def _append(self, hashes: np.ndarray, sizes: np.ndarray, paths: Sequence[str], split: np.ndarray) -> None:
        self._hashes.append(hashes)
        self._sizes.append(sizes)
        self._paths.append(pa.array(paths, pa.string()))
        self._splits.append(split)


def split_by_content(
    hashes: Shaped[np.ndarray, " image"], test_fraction: float, split_seed: int
) -> Bool[np.ndarray, " image"]:
    """Choose the test images among n: the ``ceil(test_fraction · n)`` with the smallest keys.

    An image's key is a mix of 64 bits of its content hash and the seed. So neither order nor names matter, a new image
    moves at most one other across, and copies of one image stay together: where the border would part them, all train.
    """
    n_test = int(np.ceil(test_fraction * len(hashes) - 1e-9))
    keys = mix(leading_bits(hashes) ^ np.uint64(derive_seed(split_seed, "split")))
    order = np.argsort(keys, kind="stable")
    while 0 < n_test < len(hashes) and keys[order[n_test]] == keys[order[n_test - 1]]:
        n_test -= 1
    is_test = np.zeros(len(hashes), bool)
    is_test[order[:n_test]] = True
    return is_test


def mix(values: np.ndarray) -> np.ndarray:
    """Return SplitMix64's output for each value: a bijection, every bit depends on all bits (Steele et al., 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _concatenate(parts: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *parts])
