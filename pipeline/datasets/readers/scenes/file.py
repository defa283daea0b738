"""Files of rendered scenes, in the layout of ``3dshapes.h5``."""

from pathlib import Path

import numpy as np
from jaxtyping import Int64

from pipeline.core.progress import progress
from pipeline.core.storage import atomic_file, require_free_space
from pipeline.datasets.readers.factors import factors_to_labels
from pipeline.datasets.readers.scenes.geometry import SIZE
from pipeline.datasets.readers.scenes.render import render_scenes
from pipeline.datasets.store.hdf5_writer import write_hdf5

RENDERER = 1
"""Version of the pictures; files of another one are rendered again."""

_BLOCK = 1024  # images; 12 MiB
_CHUNK = 64


def write_scenes(path: Path, factors: Int64[np.ndarray, "image 6"]) -> None:
    """Render factor combinations into an HDF5 file with the datasets ``images`` and ``labels`` of the original.

    Memory stays at about 200 MB for any number of images: blocks are written as they are rendered, and only the
    geometries are kept.

    Raises:
        ResourceError: the disk cannot hold the file; nothing is written then.
    """
    n_images = len(factors)
    require_free_space(path, n_images * SIZE * SIZE)  # deflate leaves well under a third of the 3 bytes a pixel
    with (
        atomic_file(path) as temporary,
        write_hdf5(temporary) as (file, disk),
        progress("render scenes", n_images) as bar,
    ):
        shape = (n_images, SIZE, SIZE, 3)
        chunks = (min(_CHUNK, n_images), *shape[1:])
        images = file.create_dataset("images", shape, np.uint8, chunks=chunks, compression="gzip", compression_opts=1)
        file.create_dataset("labels", data=factors_to_labels(factors))
        file.attrs["renderer"] = RENDERER
        for start in range(0, n_images, _BLOCK):
            block = factors[start : start + _BLOCK]
            images[start : start + len(block)] = render_scenes(block)
            disk.raise_fault()
            bar.advance(len(block))
