"""All images of the prepared splits with their assignments, as one list: the training split, then the test split."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, Shaped, UInt8

from pipeline.core.errors import DataError
from pipeline.core.parquet import read_columns
from pipeline.core.records import FacetAssignment
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.labels import labels_of_store

_COLUMNS = [field.name for field in fields(FacetAssignment) if field.default is MISSING] + ["group_confidence"]


@dataclass(frozen=True)
class Corpus:
    """Every image of both splits.

    Attributes:
        stores: of the training and the test split.
        image_ids: of all images.
        facets: assignments of all images, one a facet.
        labels: label values by factor, negative where unknown; empty without labels.
    """

    stores: Sequence[ImageStore]
    image_ids: Shaped[np.ndarray, " image"]
    facets: Sequence[FacetAssignment]
    labels: Mapping[str, Int[np.ndarray, " image"]]

    @property
    def n_train(self) -> int:
        """Images of the training split."""
        return self.stores[0].n_images

    @property
    def n_images(self) -> int:
        """Images of both splits."""
        return len(self.image_ids)

    @property
    def is_test(self) -> Bool[np.ndarray, " image"]:
        """Whether an image belongs to the test split."""
        return np.arange(self.n_images) >= self.n_train

    def take(self, chosen: Int[np.ndarray, " chosen"]) -> Shaped[np.ndarray, "chosen channel height width"]:
        """Return the images at strictly increasing places, as a model takes them."""
        return np.concatenate([store.take(rows) for store, rows in self._by_store(chosen)])

    def take_pictures(
        self, chosen: Int[np.ndarray, " chosen"]
    ) -> UInt8[np.ndarray, "chosen picture_channel picture_height picture_width"]:
        """Return what people see of the images at strictly increasing places."""
        return np.concatenate([store.take_pictures(rows) for store, rows in self._by_store(chosen)])

    @property
    def has_pictures(self) -> bool:
        """Whether pictures lie beside what a model takes, which is none itself."""
        return self.stores[0].picture_shape is not None

    def _by_store(self, chosen: Int[np.ndarray, " chosen"]) -> list[tuple[ImageStore, Int[np.ndarray, " _"]]]:
        in_train = chosen[chosen < self.n_train]
        in_test = chosen[chosen >= self.n_train] - self.n_train
        return list(zip(self.stores, (in_train, in_test), strict=True))


@contextmanager
def open_corpus(prepared: Path, assignments: Path, n_facets: int) -> Iterator[Corpus]:
    """Open both splits of an experiment with what stage assign said about them.

    Args:
        prepared: output folder of stage preprocess.
        assignments: output folder of stage assign: one folder a batch.
        n_facets: of the model.

    Raises:
        DataError: a file is missing, damaged, or speaks of other images.
    """
    with ExitStack() as stack:
        stores = [stack.enter_context(ImageStore(prepared / f"{split}.h5")) for split in ("train", "test")]
        parts = [_split_assignments(store, assignments, n_facets) for store in stores]
        labels = [labels_of_store(prepared, "train", stores[0]), labels_of_store(prepared, "test", stores[1])]
        yield Corpus(
            stores=stores,
            image_ids=np.concatenate([store.image_ids() for store in stores]),
            facets=[_joined([part[j] for part in parts]) for j in range(n_facets)],
            labels={name: np.concatenate([part[name] for part in labels]) for name in labels[0]},
        )


def _split_assignments(store: ImageStore, assignments: Path, n_facets: int) -> list[FacetAssignment]:
    """Return the assignments of a split in the order of its store, which may hold several batches."""
    image_ids, batch_ids = store.image_ids(), store.batch_ids()
    facets = []
    for facet in range(n_facets):
        columns: dict[str, np.ndarray] = {}
        for batch_id in np.unique(batch_ids):
            rows = np.flatnonzero(batch_ids == batch_id)
            found = _read(assignments / batch_id / f"facet_{facet}.parquet", image_ids[rows])
            for name, values in found.items():
                columns.setdefault(name, np.empty(len(image_ids), values.dtype))[rows] = values
        facets.append(FacetAssignment(**columns) if columns else _no_images())
    return facets


def _read(path: Path, image_ids: Shaped[np.ndarray, " image"]) -> dict[str, np.ndarray]:
    if not path.exists():
        raise DataError(f"{path} is missing; run stage assign")
    table = read_columns(path, ["image_id", *_COLUMNS])
    if not np.array_equal(table["image_id"].to_numpy().astype(str), image_ids):
        raise DataError(f"{path} must hold the images of the prepared split in its order; run stage assign again")
    return {name: table[name].to_numpy() for name in _COLUMNS}


def _no_images() -> FacetAssignment:
    ids, numbers = np.empty(0, np.int32), np.empty(0, np.float32)
    return FacetAssignment(ids, numbers, numbers, numbers, ids, numbers, numbers)


def _joined(parts: Sequence[FacetAssignment]) -> FacetAssignment:
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
    return FacetAssignment(**columns)
