"""What the pages of a Parquet file unpack to, by their own headers.

Arrow allocates what a page's header says, while the footer, from which sizes are known beforehand, may say anything.
Arrow shows no page headers, so they are read here: structures of Thrift's compact protocol (Parquet's
``PageHeader``), of which two fields count and the others are passed over.
"""

from typing import Any

from pipeline.core.errors import DataError
from pipeline.datasets.files.location import ByteFile

_HEADER_BYTES = 2**16  # statistics may hold a value of the column, which Parquet's writers cut
_UNPACKED_FIELD, _PACKED_FIELD = 2, 3
_DEEPEST = 8

_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(13)


def require_honest_pages(file: ByteFile, column: Any, name: str) -> None:
    """Check that the pages of a column chunk unpack to no more than the footer says.

    Args:
        file: the Parquet file.
        column: its metadata, a ``pyarrow.parquet.ColumnChunkMetaData``.
        name: of the file, for messages.

    Raises:
        DataError: they unpack to more, or a header is damaged.
    """
    place = column.data_page_offset
    if column.has_dictionary_page:
        place = min(place, column.dictionary_page_offset)
    end = place + column.total_compressed_size
    unpacked = 0
    while place < end:
        file.seek(place)
        header = _Compact(file.read(min(_HEADER_BYTES, end - place)))
        try:
            sizes = header.integers(_DEEPEST)
            place += header.place + sizes[_PACKED_FIELD]
            unpacked += sizes[_UNPACKED_FIELD]
            is_sound = min(sizes[_PACKED_FIELD], sizes[_UNPACKED_FIELD]) >= 0
        except (IndexError, KeyError, ValueError):
            is_sound = False
        if not is_sound or unpacked > column.total_uncompressed_size:
            raise DataError(
                f"{name} must have pages that unpack to the {column.total_uncompressed_size} bytes that its footer "
                f"states, got {unpacked if is_sound else 'a damaged page'}; write it again"
            )


class _Compact:
    """Reads one structure; what lies behind the end raises IndexError.

    Attributes:
        place: up to which the bytes were read.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    def integers(self, depth: int) -> dict[int, int]:
        """Return the whole numbers of a structure by field; other fields are passed over."""
        if depth == 0:
            raise ValueError("too deep")
        found: dict[int, int] = {}
        field = 0
        while (head := self._byte()) != _STOP:
            step, kind = head >> 4, head & 15
            field = field + step if step else _signed(self._varint())
            if kind in (_I16, _I32, _I64):
                found[field] = _signed(self._varint())
            elif kind not in (_TRUE, _FALSE):  # which have no bytes of their own as fields
                self._pass_over(kind, depth)
        return found

    def _pass_over(self, kind: int, depth: int) -> None:
        if kind in (_TRUE, _FALSE, _BYTE):  # as elements truth values take a byte
            self._skip(1)
        elif kind in (_I16, _I32, _I64):
            self._varint()
        elif kind == _DOUBLE:
            self._skip(8)
        elif kind == _BINARY:
            self._skip(self._varint())
        elif kind in (_LIST, _SET):
            head = self._byte()
            self._elements(self._varint() if head >> 4 == 15 else head >> 4, [head & 15], depth)
        elif kind == _MAP:
            n_pairs = self._varint()
            head = self._byte() if n_pairs else 0
            self._elements(n_pairs, [head >> 4, head & 15], depth)
        elif kind == _STRUCT:
            self.integers(depth - 1)
        else:
            raise ValueError("no such type")

    def _elements(self, n_elements: int, kinds: list[int], depth: int) -> None:
        for _ in range(n_elements):
            for kind in kinds:
                self._pass_over(kind, depth)

    def _byte(self) -> int:
        self.place += 1
        return self._data[self.place - 1]

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > 63:
                raise ValueError("too long")
        return value | byte << shift

    def _skip(self, n_bytes: int) -> None:
        self.place += n_bytes
        if self.place > len(self._data):
            raise IndexError("behind the end")


def _signed(value: int) -> int:
    return (value >> 1) ^ -(value & 1)
