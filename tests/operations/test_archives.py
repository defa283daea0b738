"""Images in a tar, some of them bad: proposed, prepared and delivered as the folder of the same images."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline.config import load_params
from pipeline.config.resolve import resolve
from pipeline.core.layout import Layout
from pipeline.datasets.decoding import pool as decode_pool
from pipeline.operations.new import add_experiment
from pipeline.operations.scan import scan_source
from pipeline.tables import read
from stages import preprocess
from tests.datasets.archives import write_archive
from tests.datasets.builders import DecodeHere
from tests.datasets.pictures import encode
from tests.operations.tiny import new_images
from tests.repository import PROJECT, Repository, tiny_experiment

pytestmark = pytest.mark.no_cover  # readers and operations have tests of their own

N_IMAGES, N_BAD, N_NEW = 1000, 20, 60
N_FEW, N_FEW_BAD = 150, 3  # where nothing is trained
KINDS = ("folder", "tar")


def make_files(n_images: int, seed: int, n_bad: int) -> dict[str, bytes]:
    """Return images in two folders by name, in the order of their names; some are no images or cut."""
    files: dict[str, bytes] = {}
    for number, pixels in enumerate(new_images(n_images, seed)):
        data = encode(pixels.repeat(2, 0).repeat(2, 1))
        if number % (n_images // n_bad if n_bad else n_images + 1) == 1:
            data = b"only words" if number % 4 == 1 else data[:60]
        files[f"{'ab'[number % 2]}/{number:04}.png"] = data
    return dict(sorted(files.items()))


def write(root: Path, name: str, kind: str, files: dict[str, bytes]) -> Path:
    if kind == "tar":
        return write_archive(root / f"{name}.tar.gz", files)
    for below, data in files.items():
        (root / name / below).parent.mkdir(parents=True, exist_ok=True)
        (root / name / below).write_bytes(data)
    return root / name


def test_a_tar_is_proposed_and_prepared_as_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_pool, "_Pool", DecodeHere)
    files = make_files(N_FEW, 1, N_FEW_BAD)
    found: dict[str, dict[str, pd.DataFrame]] = {}
    for kind in KINDS:
        root = tmp_path / kind
        root.mkdir()
        (root / "params.yaml").write_bytes((PROJECT / "params.yaml").read_bytes())
        new = add_experiment(root, "own", str(write(tmp_path / "pictures", kind, kind, files)))
        assert f"of {N_FEW} images" in new.notes[0]
        assert f"{N_FEW_BAD} of {N_FEW} set aside: " in new.notes[1]
        layout, params = Layout(root, "own"), load_params(root).experiment("own")
        assert (params.preprocess.source, params.preprocess.labels) == (kind, "folder")
        scan_source(layout, params.preprocess)
        preprocess.run(layout, params)
        tables = ("images", "quarantine", "labels")
        found[kind] = {name: pd.read_parquet(layout.prepared / f"{name}.parquet") for name in tables}
    assert len(found["tar"]["images"]) == N_FEW - N_FEW_BAD
    assert len(found["tar"]["quarantine"]) == N_FEW_BAD
    for name, table in found["tar"].items():
        pd.testing.assert_frame_equal(table, found["folder"][name])


def published(root: Path, experiment: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the published tables without what says where and when."""
    for name in ("images", "facet_0", "facet_1"):
        yield name, read(experiment, name, root=root)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_tar_is_rebuilt_and_ingested_as_the_folder(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "repository")
    files, later = make_files(N_IMAGES, 1, N_BAD), make_files(N_NEW, 2, 3)
    tiny = tiny_experiment()
    results: dict[str, Any] = {}
    for kind in KINDS:
        name = f"own_{kind}"
        repository.facets("new", name, str(write(tmp_path, kind, kind, files)))
        params = yaml.safe_load((repository.root / "params.yaml").read_text())
        proposed = resolve(params["experiments"][name], name)
        assert proposed["preprocess"]["source"] == kind
        params["experiments"][name] = {**tiny, "preprocess": proposed["preprocess"]}
        repository.write_params(params)
        repository.facets("rebuild", name)
        location = write(tmp_path / "later", kind, kind, later)
        results[kind] = json.loads(repository.facets("ingest", name, str(location), "--json").stdout)
    assert results["tar"]["n_images"] == results["folder"]["n_images"] == N_NEW - 3
    assert results["tar"]["batch_id"] == results["folder"]["batch_id"]
    by_tar, by_folder = (dict(published(repository.root, f"own_{kind}")) for kind in ("tar", "folder"))
    assert len(by_tar["images"]) == N_IMAGES - N_BAD + N_NEW - 3
    for name, table in by_tar.items():
        other = by_folder[name]
        same = [column for column in table.columns if not column.startswith(("batch", "cluster_u"))]
        assert "image_id" in same
        pd.testing.assert_frame_equal(table[same], other[same])
        assert np.array_equal(table["image_id"], other["image_id"])
