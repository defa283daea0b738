"""The spool gives every image back, part by part in the order of the hashes, and takes no more disk than it must."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import DataError, ResourceError
from pipeline.core.image_ids import HASH_DTYPE
from pipeline.datasets.prepare import spool as module
from pipeline.datasets.prepare.spool import Spool

SHAPE = (1, 2, 3)


def random_images(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, *SHAPE), dtype=np.uint8), np.frombuffer(rng.bytes(16 * n), HASH_DTYPE).copy()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 7), st.integers(0, 99))
def test_every_image_comes_back_from_its_part(tmp_path_factory, blocks, n_parts, seed):
    images, hashes = random_images(sum(blocks), seed)
    hashes[: len(hashes) // 2] = hashes[0]  # copies
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PART_BYTES", -(-len(images) * 6 // n_parts))
        folder = tmp_path_factory.mktemp("spool") / "spool"
        with Spool(folder, len(images), 0) as spool:
            stops = np.cumsum(blocks)
            for start, stop in zip(stops - blocks, stops, strict=True):
                spool.append(images[start:stop], hashes[start:stop])
            order = np.argsort(hashes)
            parts = spool.part_of(hashes[order])
            assert spool.n_parts <= n_parts + 1
            assert (np.diff(parts) >= 0).all()
            for part, take in enumerate(spool.parts(hashes)):
                some = order[parts == part]
                assert np.array_equal(take(some), images[some])
                assert len(list(folder.iterdir())) == spool.n_parts - part
            assert not list(folder.iterdir())
        assert not folder.exists()


def test_parts_go_also_when_nothing_was_read_back(tmp_path):
    images, hashes = random_images(4)
    with Spool(tmp_path / "spool", 8, 0) as spool:
        spool.append(images, hashes)
        with pytest.raises(DataError, match="one shape"):
            spool.append(images.reshape(4, 1, 3, 2), hashes)
    assert not (tmp_path / "spool").exists()


def test_space_is_asked_for_one_part_more_than_the_stores(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PART_BYTES", 6 * 250)
    wanted = int(1.05 * 6 * (1000 + 200 + 500))  # five parts, as the last one may be small
    with Spool(tmp_path / "spool", 1000, 500) as spool:
        monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": wanted - 1})())
        with pytest.raises(ResourceError, match="free disk"):
            spool.append(*random_images(10))
    with Spool(tmp_path / "spool", 1000, 500) as spool:
        monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": wanted})())
        spool.append(*random_images(10))
