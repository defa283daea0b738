"""Whether the list of files in a ZIP archive is of that archive."""

import zipfile

from pipeline.datasets.files.location import ByteFile

_FILE, _END = b"PK\3\4", b"PK\5\6"
"""What a file in an archive begins with, and what stands behind the list of files."""

_PLACE = slice(42, 46)
"""Where an entry of the list says where its file begins."""

_COMMENT, _END_BYTES = slice(20, 22), 22
"""Where the end of the list says how long a comment follows it, and its own length."""

_LONGEST_COMMENT = 2**16
_IN_64_BITS = 2**32 - 1  # the place stands elsewhere in the entry


def require_whole(file: ByteFile, archive: zipfile.ZipFile) -> None:
    """Check that the list of files is of the whole archive: zipfile takes the last list that it finds anywhere.

    Raises:
        zipfile.BadZipFile: something stands before the listed files, or behind the list.
    """
    listed = archive.infolist()
    file.seek(archive.start_dir)
    place = int.from_bytes(file.read(_PLACE.stop)[_PLACE], "little")
    file.seek(0)
    has_files = file.read(4) == _FILE
    # zipfile moves all places by what stands before the files.
    if has_files != bool(listed) or (listed and place not in (listed[0].header_offset, _IN_64_BITS)):
        raise zipfile.BadZipFile("its list of files is of another archive, as where archives were joined or cut")
    n_bytes = file.seek(0, 2)
    file.seek(max(0, n_bytes - _END_BYTES - _LONGEST_COMMENT))
    end = file.read()
    end = end[end.rindex(_END) :]
    if end[_END_BYTES + int.from_bytes(end[_COMMENT], "little") :].strip(b"\0"):
        raise zipfile.BadZipFile("more follows its list of files, as where archives were joined")
