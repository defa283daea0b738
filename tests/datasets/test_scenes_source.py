import json

import h5py
import numpy as np
import pytest

from pipeline.core.errors import ConfigError
from pipeline.core.layout import Layout
from pipeline.datasets.prepare.manifest import FileHashes
from pipeline.datasets.readers.base import open_source
from pipeline.datasets.readers.factors import select_factors
from pipeline.datasets.readers.scenes import render_scenes
from pipeline.datasets.readers.scenes.source import Scenes
from pipeline.datasets.readers.shapes3d import Shapes3dFile
from tests.datasets.builders import preprocess

FACTORS = "wall_hue=5,object_hue=6,scale=1,orientation=3"


def scenes(tmp_path, factors: str | None = FACTORS) -> Scenes:
    source = open_source(preprocess(source="scenes", factors=factors), Layout(tmp_path, "rooms"))
    assert isinstance(source, Scenes)
    return source


def test_source_renders_once_and_reads_through_the_reader_of_the_original(tmp_path):
    source = scenes(tmp_path)
    source.fetch()
    (path,) = (tmp_path / "data" / "raw" / "scenes").iterdir()
    assert path.name == "object_hue6-orientation3-scale1-wall_hue5.h5"
    written = path.stat().st_mtime_ns
    source.fetch()
    assert path.stat().st_mtime_ns == written

    (block,) = source.blocks()
    factors = select_factors(FACTORS)
    assert source.n_images() == len(factors) == 40
    assert np.array_equal(block.images, render_scenes(factors).transpose(0, 3, 1, 2))
    assert sorted(block.labels) == ["floor_hue", "shape"]
    assert np.array_equal(block.labels["floor_hue"], factors[:, 0])
    assert np.array_equal(block.labels["shape"], factors[:, 4])
    assert source.class_names() == {"shape": ["cube", "cylinder", "sphere", "capsule"]}
    (direct,) = Shapes3dFile(path, "floor_hue=2," + FACTORS).blocks()
    assert np.array_equal(direct.images, render_scenes(select_factors("floor_hue=2," + FACTORS)).transpose(0, 3, 1, 2))


@pytest.mark.parametrize("damage", ["other version", "garbage"])
def test_file_of_another_renderer_or_damaged_is_rendered_again(tmp_path, damage):
    source = scenes(tmp_path)
    source.fetch()
    (path,) = (tmp_path / "data" / "raw" / "scenes").iterdir()
    whole = path.stat().st_size
    if damage == "garbage":
        path.write_bytes(b"no HDF5")
    else:
        with h5py.File(path, "r+") as file:
            file.attrs["renderer"] = 0
            del file["images"]
    source.fetch()
    assert path.stat().st_size == pytest.approx(whole, rel=0.01)
    assert sum(len(block.paths) for block in source.blocks()) == 40


def test_fingerprint_is_the_same_before_and_on_every_machine(tmp_path):
    files = FileHashes(tmp_path / "files.parquet")
    assert scenes(tmp_path).fingerprint(files) == {"factors": FACTORS, "renderer": 1}
    assert json.dumps(scenes(tmp_path).fingerprint(files))


def test_wrong_factors_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="shape must be a whole number below 4"):
        scenes(tmp_path, "shape=9").fetch()
    assert list(tmp_path.iterdir()) == []


def test_paths_of_selections_stay_in_their_folder(tmp_path):
    with pytest.raises(ConfigError, match="factors must be"):
        scenes(tmp_path, "../../escape").fetch()
    assert list(tmp_path.iterdir()) == []
