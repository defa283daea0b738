"""Small files in the formats of the public data sets."""

import gzip
from pathlib import Path

import h5py
import numpy as np
import scipy.io

from pipeline.datasets.readers.factors import factors_to_labels


def idx_bytes(values: np.ndarray) -> bytes:
    """Return an array of unsigned bytes as the content of an IDX file."""
    header = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    return header + values.astype(np.uint8).tobytes()


def write_mnist(folder: Path, n_train: int = 30, n_test: int = 10, *, packed: bool = True) -> dict[str, np.ndarray]:
    """Write four IDX files with random images of 4×4 pixels; return their content by file name."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    content: dict[str, np.ndarray] = {}
    for stem, n in (("train", n_train), ("t10k", n_test)):
        content[f"{stem}-images-idx3-ubyte"] = generator.integers(0, 256, (n, 4, 4), np.uint8)
        content[f"{stem}-labels-idx1-ubyte"] = generator.integers(0, 10, n, np.uint8)
    for name, values in content.items():
        data = idx_bytes(values)
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(data, mtime=0) if packed else data)
    return content


def write_mat(path: Path, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Write a file in the layout of SVHN; return images (n, 3, 32, 32) and labels 1 to 10."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (n, 3, 32, 32), np.uint8)
    labels = (np.arange(n) % 10 + 1).astype(np.uint8)
    scipy.io.savemat(path, {"X": images.transpose(2, 3, 1, 0), "y": labels[:, None]}, do_compression=True)
    return images, labels


def write_shapes(path: Path, factors: np.ndarray, seed: int = 0) -> np.ndarray:
    """Write a file in the layout of 3DShapes with random images; return them (n, 64, 64, 3)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = np.random.default_rng(seed).integers(0, 256, (len(factors), 64, 64, 3), np.uint8)
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images, chunks=(8, 64, 64, 3), compression="gzip", compression_opts=1)
        file.create_dataset("labels", data=factors_to_labels(factors))
    return images
