"""Source ``scenes``: rendered when first needed, read like the original."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from pipeline.config.sections import PreprocessParams
from pipeline.core.layout import Layout
from pipeline.datasets.readers.base import FileList
from pipeline.datasets.readers.block import Block
from pipeline.datasets.readers.factors import select_factors
from pipeline.datasets.readers.scenes.file import RENDERER, write_scenes
from pipeline.datasets.readers.shapes3d import Shapes3dFile


class Scenes:
    """Source ``scenes``: colour images 3×64×64; those factors are labels that vary within the selection.

    Rendered files lie in ``data/raw/scenes``, one a selection of factors.
    """

    def __init__(self, params: PreprocessParams, layout: Layout) -> None:
        self._selection = params.factors
        self._file = Shapes3dFile(_path(layout, params.factors), params.factors)

    def fetch(self) -> None:
        """Render the file if it is missing, unreadable or of another version of the renderer.

        Raises:
            ConfigError: ``preprocess.factors`` names an unknown factor or index.
            ResourceError: the disk cannot hold the file.
        """
        factors = select_factors(self._selection)
        if _renderer_of(self._file.path) != RENDERER:
            write_scenes(self._file.path, factors)

    def fingerprint(self, files: FileList) -> dict[str, Any]:
        """Return selection and version of the renderer: the last bits of a picture may depend on the processor."""
        return {"factors": self._selection, "renderer": RENDERER}

    def n_images(self) -> int:
        """Return the number of chosen factor combinations."""
        return self._file.n_images()

    def class_names(self) -> dict[str, list[str]]:
        """Return the names of the four shapes; the other factors are indices."""
        return self._file.class_names()

    def blocks(self) -> Iterator[Block]:
        """Yield the images in the order of the original file."""
        return self._file.blocks()


def _path(layout: Layout, selection: str | None) -> Path:
    parts = sorted(part.replace(" ", "").replace("=", "") for part in (selection or "all").split(","))
    return layout.raw / "scenes" / ("-".join(parts).replace("/", "") + ".h5")


def _renderer_of(path: Path) -> int | None:
    try:
        with h5py.File(path, "r") as file:
            version: Any = file.attrs.get("renderer")
            return None if version is None else int(version)
    except (OSError, ValueError):
        return None
