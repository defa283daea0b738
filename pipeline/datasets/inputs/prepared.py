"""What becomes of some images or rows: what a model takes, and what people see where that is no picture."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from pipeline.datasets.store.spec import InputBlock, InputSpec, Pictures, Shape


@dataclass(frozen=True)
class RowKind:
    """What a row of a store is.

    Attributes:
        spec: of the input.
        picture_shape: of the picture beside it; None where there is none.
    """

    spec: InputSpec
    picture_shape: Shape | None = None

    @property
    def n_bytes(self) -> int:
        """Bytes of a row."""
        return self.spec.n_bytes + (0 if self.picture_shape is None else int(np.prod(self.picture_shape)))

    @property
    def dtype(self) -> np.dtype:
        """Of a row as one number of numpy's structured kind, where it has a picture."""
        return np.dtype([("input", self.spec.dtype, self.spec.shape), ("picture", "u1", self.picture_shape)])


class Prepared(NamedTuple):
    """Some rows of a store.

    Attributes:
        kind: of each.
        inputs: what a model takes.
        pictures: what people see of them; None where that is the input itself.
    """

    kind: RowKind
    inputs: InputBlock
    pictures: Pictures | None

    @classmethod
    def unpack(cls, kind: RowKind, rows: Shaped[np.ndarray, "image ..."]) -> "Prepared":
        """Return what :meth:`pack` packed."""
        return cls(kind, rows, None) if kind.picture_shape is None else cls(kind, rows["input"], rows["picture"])

    def pack(self) -> Shaped[np.ndarray, "image ..."]:
        """Return one array; with pictures, of one structured number a row."""
        if self.pictures is None:
            return self.inputs
        rows = np.empty(len(self.inputs), self.kind.dtype)
        rows["input"], rows["picture"] = self.inputs, self.pictures
        return rows
