"""Images and rows as they are: pixels at model size, or the numbers of the source."""

from dataclasses import dataclass

from pipeline.config.sections import PreprocessParams
from pipeline.core.errors import DataError
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.inputs.prepared import Prepared, RowKind
from pipeline.datasets.readers.block import Block
from pipeline.datasets.store.spec import InputSpec, Shape


class Plain:
    """Brings images to model size, and passes rows on.

    Args:
        params: section ``preprocess``.
    """

    def __init__(self, params: PreprocessParams) -> None:
        self._params = params
        self._transform = ImageTransform.from_params(params)

    def reading(self, params: PreprocessParams) -> PreprocessParams:
        """Return what readers are asked for: all that parameters say."""
        return params

    def apply(self, block: Block) -> Prepared:
        """Return what a model takes of a block.

        Raises:
            DataError: images differ in shape afterwards, or a size or colours are asked of rows.
        """
        if block.rows is None:
            pixels = self._transform.apply(block.pixels)
            shape = pixels.shape[1], pixels.shape[2], pixels.shape[3]
            return Prepared(RowKind(InputSpec.pixels(shape)), pixels, None)
        if self._params.size is not None or self._params.channels != "source":
            raise DataError(
                "rows of numbers have neither size nor colours, got "
                f"preprocess.size {self._params.size} and channels {self._params.channels}; set null and source"
            )
        return Prepared(RowKind(InputSpec.features(block.rows.shape[-1])), block.rows, None)


@dataclass(frozen=True)
class GivenRows:
    """Rows of a delivery, for a model of rows; they stay as they are.

    Attributes:
        kind: of the rows that the model takes.
    """

    kind: RowKind

    def apply(self, block: Block) -> Prepared:
        """Return the rows of a block."""
        assert block.rows is not None
        return Prepared(self.kind, block.rows, None)

    def require(self, location: str, row_width: int | None) -> None:
        """Check that a delivery holds such rows.

        Args:
            location: of the delivery.
            row_width: numbers of its rows; None where it holds images.

        Raises:
            DataError: it does not.
        """
        wanted = self.kind.spec.n_numbers
        if row_width != wanted:
            found = "images" if row_width is None else f"rows of {row_width}"
            raise DataError(
                f"{location} must hold rows of {wanted} numbers (an array of 2 axes, or lists in Parquet), as the "
                f"model in service takes, got {found}; make them as those before were made"
            )

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of a row, whatever it was."""
        return shape
