from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from sklearn.datasets import load_digits

from pipeline.core.layout import Layout
from pipeline.datasets.readers.digits import Digits
from tests.datasets.builders import preprocess


def test_digits_are_the_bundled_ones(tmp_path: Path) -> None:
    source = Digits(preprocess(), Layout(tmp_path, "digits"))
    source.fetch()
    (block,) = source.blocks()
    bunch: Any = load_digits()
    images = np.asarray(block.images)
    assert images.shape == (source.n_images(), 1, 8, 8)
    assert (images.min(), images.max()) == (0, 255)
    assert np.abs(images[:, 0] / 255 - bunch.images / 16).max() < 0.5 / 255 + 1e-9
    assert (block.labels["digit"] == bunch.target).all()
    assert block.split is None


def test_the_version_of_the_package_pins_the_content(tmp_path: Path) -> None:
    class NoFiles:
        def file(self, path: str, within: str | None = None) -> dict[str, object]:
            raise AssertionError(path)

        def folder(self, path: str, **more: object) -> dict[str, object]:
            raise AssertionError(path)

    pinned = Digits(preprocess(), Layout(tmp_path, "digits")).fingerprint(NoFiles())
    assert pinned == {"package": "scikit-learn", "version": sklearn.__version__}
