"""The published model for programs: the same answers as the tables, wherever the model and the images come from."""

import shutil
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import pipeline
from pipeline.core.errors import ConfigError, DataError, ModelError
from pipeline.operations.ingest import ingest
from pipeline.prediction import PublishedModel
from pipeline.tables import query
from tests.datasets.pictures import BAD_FILES, encode, picture, write_bad_files
from tests.operations.tiny import EXPERIMENT, Tiny, new_images
from tests.web import served

PER_FACET = ("cluster_uid", "cluster_name", "confidence", "group_uid", "group_name", "group_confidence")


@pytest.fixture(scope="module")
def model(tiny_template: Tiny) -> PublishedModel:
    return pipeline.load(EXPERIMENT, root=tiny_template.root)


def published_rows(tiny: Tiny) -> pd.DataFrame:
    """Return what the tables say, in the columns of a prediction, by path or position."""
    facets = [
        f"(SELECT image_id, {', '.join(f'{name} AS facet_{j}_{name}' for name in PER_FACET)} FROM facet_{j})"
        for j in (0, 1)
    ]
    sql = f"FROM images JOIN {facets[0]} USING (image_id) JOIN {facets[1]} USING (image_id) ORDER BY batch_id, position"
    return query(EXPERIMENT, f"SELECT * {sql}", root=tiny.root)


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    for name in [f"facet_{j}_{name}" for j in (0, 1) for name in PER_FACET]:
        if name.endswith("confidence"):
            np.testing.assert_allclose(found[name], expected[name], atol=1e-4, err_msg=name)
        else:
            assert found[name].dropna().tolist() == expected[name].dropna().tolist(), name


def test_published_images_get_what_their_rows_say(tiny: Tiny) -> None:
    tiny.layout.names.parent.mkdir()
    tiny.history.set_name(tiny.layout.names, "f1-c000", "owls")
    images = np.load(tiny.root / "data" / "own" / "images.npz")["images"]
    found = pipeline.load(EXPERIMENT, root=tiny.root).predict(images)
    assert list(found.columns) == [
        *("path", "image_id"),
        *(f"facet_{j}_{name}" for j in (0, 1) for name in PER_FACET),
        "reason",
    ]
    rows = published_rows(tiny).set_index("image_id")
    assert_same(found, rows.loc[found["image_id"]])
    assert "owls" in set(found["facet_1_cluster_name"])
    assert found["reason"].isna().all()


def write_delivery(folder: Path) -> list[Path]:
    """Write pictures that decoding, channels, size and ``brightest`` each have something to do with."""
    folder.mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    files = {
        "wide.png": encode(picture(1, 9, 31)),
        "tall.jpg": encode(picture(2, 40, 16), "JPEG", exif=turned),
        "palette.gif": encode(Image.fromarray(picture(3)).quantize(16), "GIF"),
        "clear.png": encode(np.dstack([picture(4), picture(5)[..., :1]])),
        "deep.png": encode((np.arange(144).reshape(12, 12) * 6).astype(np.uint16)),
        "deep.pgm": b"P5 9 9 1023\n" + (np.arange(81) * 12).astype(">u2").tobytes(),
        "bits.png": encode(Image.fromarray(picture(6)).convert("1")),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in files]


def test_a_delivery_is_prepared_as_ingestion_does(tiny: Tiny, tmp_path: Path) -> None:
    names = write_delivery(tmp_path / "new")
    result = ingest(tiny.layout, tiny.params, str(tmp_path / "new"))
    assert result.n_images == len(names)
    rows = published_rows(tiny).set_index("path").loc[[path.name for path in names]]
    model = pipeline.load(tiny.layout.published)
    found = model.predict(names)
    assert found["path"].tolist() == [str(path) for path in names]
    assert found["image_id"].tolist() == rows["image_id"].tolist()
    assert_same(found, rows)
    opened = [Image.open(path) for path in names]
    pictures = model.predict(opened)
    for one in opened:
        one.close()
    assert pictures["image_id"].tolist() == rows["image_id"].tolist()
    assert_same(pictures, rows)


def test_arrays_of_every_kind_are_the_pictures_they_hold(model: PublishedModel) -> None:
    colour = np.stack([picture(seed) for seed in (1, 2, 3)])
    expected = model.predict(Image.fromarray(image) for image in colour)
    for images in (colour, list(colour), colour.transpose(0, 3, 1, 2), colour / 255, (colour / 255).astype(np.float32)):
        assert_same(model.predict(images), expected)
    deep = np.stack([picture(seed)[..., 0].astype(np.uint16) * 257 for seed in (1, 2)])
    assert_same(model.predict(deep), model.predict(Image.fromarray(image) for image in deep))


def test_brightest_of_the_model_counts(model: PublishedModel) -> None:
    dim = replace(model, preprocess=replace(model.preprocess, brightest=1023))
    images = (np.arange(2 * 144).reshape(2, 12, 12) * 3).astype(np.uint16)
    found = [dim.predict(given)["image_id"].tolist() for given in (images, map(Image.fromarray, images))]
    eight = np.rint(images.clip(0, 1023) * 255.0 / 1023).astype(np.uint8)
    assert found == [model.predict(eight)["image_id"].tolist()] * 2


def test_the_model_goes_where_its_folder_goes(tiny_template: Tiny, tmp_path: Path) -> None:
    images = new_images(12)
    expected = pipeline.load(EXPERIMENT, root=tiny_template.root).predict(images)
    taken = tmp_path / "elsewhere" / "birds-2"
    shutil.copytree(tiny_template.layout.published, taken)
    memory = fsspec.filesystem("memory")
    memory.put(str(taken), "/bucket/birds", recursive=True)
    pd.testing.assert_frame_equal(pipeline.load(taken).predict(images), expected)
    pd.testing.assert_frame_equal(pipeline.load("memory://bucket/birds").predict(images), expected)
    with served(tiny_template.root) as address:
        pd.testing.assert_frame_equal(pipeline.load(f"{address}/published/{EXPERIMENT}").predict(images), expected)
        pd.testing.assert_frame_equal(pipeline.load(EXPERIMENT, root=address).predict(images), expected)
        with pytest.raises(DataError, match=r"nowhere must hold a published version, got none"):
            pipeline.load(f"{address}/nowhere")


def test_what_cannot_be_read_costs_no_other_image(model: PublishedModel, tmp_path: Path) -> None:
    good = tmp_path / "good.png"
    good.write_bytes(encode(picture(1)))
    write_bad_files(tmp_path)
    bad = {tmp_path / name: reason for name, (_, reason) in BAD_FILES.items()}
    names = [*bad, tmp_path / "missing.png", tmp_path, good]
    with pytest.warns(
        UserWarning, match=rf"{len(names) - 1} of {len(names)} set aside: .* the first is row 0, .*empty.png is"
    ):
        found = model.predict(names)
    assert found["path"].tolist() == list(map(str, names))
    for reason, expected in zip(
        found["reason"], [*bad.values(), "is missing; put the file", "must be a file"], strict=False
    ):
        assert pd.Series([reason]).str.match(expected).all(), (reason, expected)
    assert found.iloc[:-1, 1:-1].isna().all().all()
    assert_same(found.iloc[-1:], model.predict([good]))
    assert pd.isna(found["reason"].iloc[-1])


def test_pictures_are_refused_for_the_reasons_of_files(model: PublishedModel) -> None:
    odd = [Image.new("CMYK", (9, 9)), Image.new("I", (9, 9)), Image.new("L", (0, 4)), Image.new("L", (9, 9))]
    with pytest.warns(UserWarning, match="3 of 4 set aside"):
        reasons = model.predict(odd)["reason"].tolist()
    assert [reason.split(" ")[0:2] for reason in reasons[:3]] == [["is", "CMYK,"], ["has", "32-bit"], ["has", "no"]]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("a.png", r"images must be several, a list of .*, got 'a.png'; put it into a list"),
        (Path("a.png"), "put it into a list"),
        (Image.new("L", (8, 8)), "images must be several"),
        (None, "images must be several, .*, got None"),
        ([b"bytes"], r"must all be of one kind, .*, got bytes at place 0"),
        (["a.png", Image.new("L", (8, 8))], "must all be of one kind, .*, got Image at place 1"),
        (np.zeros((8, 8), np.uint8), r"images must have shape \(n, height, width\), .*, got \(8, 8\)"),
        (np.zeros((2, 8, 8), complex), "images must hold numbers as images, got complex128"),
        (np.full((2, 8, 8), 3.0), "floating-point pixels must lie within 0 and 1, got 3.0; rescale"),
        (np.full((2, 8, 8), 300), "must lie within 0 and 255, got 300"),
        (np.zeros((2, 8, 8, 2), np.uint8), "needs images of 1 or 3 channels, got 2"),
        (["missing.png"], "needs an image that can be used, but none of 1 can: row 0, missing.png is missing; put"),
    ],
)
def test_what_are_no_images_is_refused(model: PublishedModel, images: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        model.predict(images)


def test_channels_that_are_not_the_models_are_refused(model: PublishedModel) -> None:
    keeping = replace(model, transform=replace(model.transform, channels="source"))
    with pytest.raises(
        DataError, match="row 0, image is 12×16 with 3 channels, but the model takes 8×8 with 1 channel"
    ):
        keeping.predict([picture(1)])


def test_no_images_are_no_rows(model: PublishedModel) -> None:
    assert len(model.predict([])) == len(model.predict(np.array([], str))) == 0


def test_a_stream_of_images_is_held_a_batch_at_a_time(model: PublishedModel) -> None:
    alive: set[int] = set()
    most = 0

    def stream() -> Iterator[np.ndarray]:
        nonlocal most
        for number, image in enumerate(new_images(40)):
            own = image.copy()
            alive.add(number)
            weakref.finalize(own, alive.discard, number)
            most = max(most, len(alive))
            yield own

    few = replace(model, assign=replace(model.assign, batch_size=8))
    assert_same(few.predict(stream()), model.predict(new_images(40)))
    assert most <= 2 * 8 + 1


def test_what_was_changed_is_not_loaded(tiny: Tiny) -> None:
    folder = tiny.history.model_folder()
    (weights,) = folder.glob("seed-*.safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ModelError, match="must hold the weights of model m-"):
        pipeline.load(tiny.layout.published)
    (folder / "params.json").write_text((folder / "params.json").read_text().replace("stretch", "crop   "))
    with pytest.raises(DataError, match=r"params.json must be as it was written, but was changed or damaged"):
        pipeline.load(tiny.layout.published)


def test_what_names_no_model_is_refused(tiny_template: Tiny, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"load takes a name, or a folder with a slash in it such as ./folder: .*'birds-2'"
    ):
        pipeline.load("birds-2")
    with pytest.raises(DataError, match="must hold a published version, got none"):
        pipeline.load(tmp_path)
    with pytest.raises(
        DataError, match="foo://x/y must have a protocol that fsspec can read, but Protocol not known: foo"
    ):
        pipeline.load("foo://x/y")
    with pytest.raises(ConfigError, match=r"version must be one of those kept in .*, got 7"):
        pipeline.load(EXPERIMENT, version=7, root=tiny_template.root)


def test_importing_the_package_loads_no_model_library() -> None:
    script = "import pipeline, sys; print(sorted({'torch', 'numpy', 'pandas', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
