"""Small inputs of people that once failed: what is proposed for them, and what is read."""

import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.sections import PreprocessParams
from pipeline.config.sources import source_of_file
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.decoding import pool
from pipeline.datasets.decoding.decode import decode_images
from pipeline.datasets.decoding.worker import DecodeJob
from pipeline.datasets.prepare.manifest import scan
from pipeline.datasets.readers.base import Block, OwnSource, open_source
from pipeline.onboarding.propose import Proposal
from tests.datasets.builders import preprocess
from tests.onboarding.test_propose import propose
from tests.repository import PROJECT

CASES = PROJECT.parent / "shared" / "cases"
PLAIN = preprocess(source="folder", path="mine")

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the collection of cases is not beside the repository")


def look(root: Path, case: str) -> tuple[Proposal, PreprocessParams, list[Block]]:
    """Propose for a case, pin it, and read it as proposed."""
    source = CASES / case
    location = root / "mine" / source.name
    location.parent.mkdir()
    if source.suffix == ".zip":
        location = location.with_suffix("")
        shutil.unpack_archive(source, location)
    elif source.is_dir():
        shutil.copytree(source, location)
    else:
        shutil.copy(source, location)
    proposal, experiment = propose(root, str(location))
    layout = Layout(root, "mine")
    layout.source_manifest.parent.mkdir(parents=True)
    scan(layout, experiment.preprocess)
    reader = open_source(experiment.preprocess, layout)
    assert isinstance(reader, OwnSource)
    return proposal, experiment.preprocess, list(reader.blocks())


def labels_of(blocks: list[Block], factor: str) -> list[int]:
    return np.concatenate([block.labels[factor] for block in blocks]).tolist()


def rejected(blocks: list[Block]) -> dict[str, str]:
    return dict(pair for block in blocks for pair in block.rejected)


def test_files_that_alternate_are_both_seen(tmp_path: Path) -> None:
    proposal, params, _ = look(tmp_path, "alias.zip")
    assert "40×20 with 3 channels" in proposal.notes[0]
    assert "12×12 with 1 channel" in proposal.notes[0]
    told = "two kinds of files: 300 × grey 12×12 named *_a.png, 300 × colour 40×20 named *_b.png; leave a kind out with"
    assert told in "\n".join(proposal.notes)
    assert params.channels == "rgb"
    assert "all are grey" not in proposal.text
    assert "the size of all images" not in proposal.text


def test_colour_behind_grey_rows_is_seen(tmp_path: Path) -> None:
    proposal, params, _ = look(tmp_path, "first512/sketches_then_photos.npy")
    assert params.channels == "rgb"
    assert "512 were looked at" in proposal.text


def test_a_cut_archive_among_images_is_set_aside_alone(tmp_path: Path) -> None:
    _, _, blocks = look(tmp_path, "gz")
    assert [name.rpartition(".")[2] for name in rejected(blocks)] == ["gz"]
    assert sum(len(block.paths) for block in blocks) >= 20


@pytest.mark.parametrize("kind", ["semicolon", "utf16", "abs", "index_col", "metadata"])
def test_labels_in_any_table_are_read(tmp_path: Path, kind: str) -> None:
    proposal, params, blocks = look(tmp_path, f"labels_csv/{kind}")
    assert params.labels == ("metadata.csv" if kind == "metadata" else "labels.csv"), proposal.notes
    values = labels_of(blocks, "label")
    assert min(values) >= 0
    assert len(set(values)) > 1


def test_a_column_that_stores_each_value_once_is_labels(tmp_path: Path) -> None:
    _, params, blocks = look(tmp_path, "dict_label/dict_label.parquet")
    assert params.labels == "inside"
    assert len(set(labels_of(blocks, "label"))) > 1


def test_names_and_paths_of_hugging_face_are_kept(tmp_path: Path) -> None:
    _, params, blocks = look(tmp_path, "hf_names/hf.parquet")
    source = open_source(params, Layout(tmp_path, "mine"))
    assert len(source.class_names()["label"]) > 1
    assert not any("[" in path for block in blocks for path in block.paths)


def test_paths_without_bytes_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"120 × has no bytes, only the path of a file; pass the folder of these files"):
        look(tmp_path, "hf_paths/path_only.parquet")


@pytest.mark.parametrize("name", ["dsprites", "withobj"])
def test_the_image_array_is_read_and_pickled_ones_are_left_alone(tmp_path: Path, name: str) -> None:
    _, _, blocks = look(tmp_path, f"dsprites/{name}.npz")
    assert sum(len(block.paths) for block in blocks) == 300


@pytest.mark.parametrize(
    ("case", "n_train", "n_test"), [("medmnist/medmnist.npz", 250, 50), ("npz_xtrain/xy.npz", 200, 100)]
)
def test_splits_and_labels_of_array_files_are_kept(tmp_path: Path, case: str, n_train: int, n_test: int) -> None:
    _, params, blocks = look(tmp_path, case)
    assert params.labels == "inside"
    counts = {split: sum(len(block.paths) for block in blocks if block.split == split) for split in ("train", "test")}
    assert counts == {"train": n_train, "test": n_test}
    (factor,) = blocks[0].labels
    assert min(labels_of(blocks, factor)) >= 0


def test_other_kinds_of_files_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    originals = sorted((CASES / "pgm_gif").iterdir())
    layout = Layout(tmp_path, "mine")
    for path in originals:
        shutil.copy(path, folder)
    blocks = list(open_source(replace(PLAIN, path=str(folder), size=(8, 8), channels="rgb"), layout).blocks())
    assert rejected(blocks) == {}
    assert sum(len(block.paths) for block in blocks) == len(originals)


def test_damaged_metadata_makes_no_noise(tmp_path: Path) -> None:
    """Warnings are errors here, and what decoding processes say would be on their standard error."""
    own = replace(PLAIN, path=str(CASES / "exif_warning"), channels="rgb")
    (block,) = open_source(own, Layout(tmp_path, "mine")).blocks(DecodeJob(None, 10**6, None, None, True))
    (encoded,) = block.encoded or ()
    assert np.array_equal(decode_images([encoded])[0], block.pixels[0])


@pytest.mark.soak  # to write these files takes half a minute
def test_hostile_files_are_one_line_each_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """By themselves, and in a folder, where whatever is no image is set aside."""
    folder = tmp_path / "hostile"
    for limit in ("_LIGHT_BYTES", "_CHUNK_BYTES"):  # no other processes for what is refused at its first bytes
        monkeypatch.setattr(pool, limit, 2**50)
    monkeypatch.setattr(sys, "argv", ["hostile.py", str(folder)])
    runpy.run_path(str(CASES / "hostile.py"))
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 6
    layout = Layout(tmp_path, "mine")
    layout.source_manifest.parent.mkdir(parents=True)
    for name in names:
        with pytest.raises(DataError) as proposed:
            propose(tmp_path, str(folder / name))
        with pytest.raises(DataError) as scanned:
            scan(layout, replace(PLAIN, source=source_of_file(name) or "folder", path=str(folder / name)))
        for error in (proposed, scanned):
            assert name in str(error.value)
            assert "\n" not in str(error.value)
    with pytest.raises(DataError, match=r"must hold usable images, got none \(6 of 6 set aside: 3 × is no image; "):
        propose(tmp_path, str(folder))
    refused: list[tuple[str, str]] = []
    scan(layout, replace(PLAIN, path=str(folder)), refused)
    assert {name for name, _ in refused} == {"dangling.png", "loop.png", "sparse.npy"}
    assert capfd.readouterr().err == ""
