"""Tar and ZIP archives, good and hostile, made in memory."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path


def tar_bytes(files: Mapping[str, bytes], *extra: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return files, and entries without content behind them, as a tar archive."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info)
    return target.getvalue()


def entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """Return an entry that is no file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def raw_header(name: str, size: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return a header with any twelve bytes for the size, whatever these say."""
    header = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    header[124:136], header[156:157] = size, kind
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def zip_bytes(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return files as a ZIP archive."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def archive_bytes(suffix: str, files: Mapping[str, bytes]) -> bytes:
    """Return files as an archive of the kind that a suffix names."""
    if suffix == ".zip":
        return zip_bytes(files)
    data = tar_bytes(files)
    return data if suffix == ".tar" else gzip.compress(data, mtime=0)


def write_archive(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write files as an archive of the kind that the path's ending names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = next(suffix for suffix in (".tar", ".tar.gz", ".tgz", ".zip") if path.name.endswith(suffix))
    path.write_bytes(archive_bytes(suffix, files))
    return path
