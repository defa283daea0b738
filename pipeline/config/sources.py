"""Every source of images, one line each: its name in ``preprocess.source``, its reader, and how it is recognised.

A plain table, so that parameters, inbox and command line know all sources without importing a reader.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class SourceKind:
    """What is known of a source before its reader is imported.

    Attributes:
        reader: module and class below ``pipeline.datasets.readers``.
        suffixes: of the files and URLs that it opens.
        in_folders: whether a folder that holds such files is one source, too.
        is_folder: whether it takes every other folder.
        has_files: whether its images are files with paths, by which ``preprocess.include`` and ``exclude`` choose.
    """

    reader: str
    suffixes: tuple[str, ...] = ()
    in_folders: bool = False
    is_folder: bool = False
    has_files: bool = False

    @property
    def takes_path(self) -> bool:
        """Whether it reads a person's own images, from ``preprocess.path``."""
        return self.is_folder or bool(self.suffixes)


SOURCES = {
    "digits": SourceKind("digits.Digits"),
    "mnist": SourceKind("mnist.Mnist"),
    "svhn": SourceKind("svhn.Svhn"),
    "shapes3d": SourceKind("shapes3d.Shapes3d"),
    "scenes": SourceKind("scenes.Scenes"),
    "folder": SourceKind("folder.Folder", is_folder=True, has_files=True),
    "npy": SourceKind("arrays.ArrayFile", (".npy", ".npz")),
    "hdf5": SourceKind("arrays.ArrayFile", (".h5", ".hdf5")),
    "parquet": SourceKind("parquet.Parquet", (".parquet",), in_folders=True),
    "tar": SourceKind("tar.Archive", (".tar", ".tar.gz", ".tgz"), in_folders=True, has_files=True),
    "zip": SourceKind("tar.Archive", (".zip",), in_folders=True, has_files=True),
}

FILE_SUFFIXES = tuple(suffix for kind in SOURCES.values() for suffix in kind.suffixes)
"""Endings of all files that are a source by themselves."""


def suffix_of(name: str) -> str:
    """Return the ending that makes a file or URL of this name a source, as it is spelt there; empty if none does."""
    lower = name.lower()
    longest = max((suffix for suffix in FILE_SUFFIXES if lower.endswith(suffix)), key=len, default="")
    return name[len(name) - len(longest) :]


def source_of_file(name: str) -> str | None:
    """Return which source opens a file or URL of this name; None if none does."""
    suffix = suffix_of(name).lower()
    return next((source for source, kind in SOURCES.items() if suffix in kind.suffixes), None)
