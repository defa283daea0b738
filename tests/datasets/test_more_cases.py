"""Collections as people have them: what a first look says of each, and that reading it finds the same."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.config.sources import source_of_file
from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.core.text import set_aside
from pipeline.datasets.readers.base import OwnSource, open_source
from pipeline.onboarding.sample import take_sample
from tests.datasets.archives import archive_bytes
from tests.datasets.builders import USUAL, preprocess
from tests.datasets.pictures import BAD_FILES, animation, encode, noise, picture

Files = dict[str, bytes]


def pictures(pattern: str = "#.png", n: int = 12, kind: str = "PNG", **options: object) -> Files:
    """Return different colour pictures; their numbers take the place of ``#``."""
    return {pattern.replace("#", str(i)): encode(picture(i, 8, 8), kind, **options) for i in range(n)}


def by_year() -> Files:
    return pictures("2023/#.png", 6) | pictures("2024/#.png", 6)


def bad(*names: str) -> Files:
    return {name: BAD_FILES[name][0]() for name in names}


def npy(values: np.ndarray) -> bytes:
    target = io.BytesIO()
    np.save(target, values)
    return target.getvalue()


def npz(**arrays: Any) -> bytes:
    target = io.BytesIO()
    np.savez(target, **arrays)
    return target.getvalue()


def hdf5(**arrays: np.ndarray) -> bytes:
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        for name, values in arrays.items():
            file[name.replace("__", "/")] = values
    return target.getvalue()


def parquet(**columns: object) -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.table(columns), target)
    return target.getvalue()


@dataclass(frozen=True)
class Case:
    """One collection.

    Attributes:
        files: what lies in the folder; a file alone is the source itself.
        good: images that can be used.
        aside: files that are set aside.
        says: part of what is said of these.
        source: how it is read.
        labels: what is proposed as labels.
        refused: how the refusal of the whole begins, behind the location; empty where it is read.
    """

    files: Callable[[], Mapping[str, bytes]]
    good: int = 12
    aside: int = 0
    says: str = ""
    source: str = "folder"
    labels: str | None = None
    refused: str = ""


IMAGES = noise(12, 8, 8)
CLASSES = np.arange(12) % 3

CASES: dict[str, Case] = {
    # --- names --------------------------------------------------------------------------------------------------------
    "endings in capitals": Case(lambda: pictures("#.PNG")),
    "no endings": Case(lambda: pictures("image#")),
    "wrong endings": Case(lambda: pictures("#.png", kind="JPEG")),
    "spaces, accents and signs": Case(lambda: pictures("Café №# – «ü».png")),
    "several dots": Case(lambda: pictures("scan.2024.01.#.tar.png")),
    "names that look like options": Case(lambda: pictures("--force #.png")),
    "folders in folders": Case(lambda: pictures("a/b/c/d/e/#.png")),
    "hidden files of a Mac": Case(lambda: pictures() | {".DS_Store": b"x", "._1.png": b"x", ".thumbs/1.png": b"x"}),
    "Windows' cache of thumbnails": Case(lambda: pictures() | {"Thumbs.db": b"x", "desktop.ini": b"x"}),
    "a note and a licence": Case(lambda: pictures() | {"README.md": b"x", "LICENSE.txt": b"x"}),
    "a licence without ending": Case(lambda: pictures() | {"LICENSE": b"MIT"}, aside=1, says="1 × is no image"),
    "annotations beside each image": Case(lambda: pictures() | {f"{i}.json": b"{}" for i in range(12)}),
    "drawings as SVG": Case(lambda: pictures() | {"a.svg": b"<svg/>"}, aside=1, says="1 × is no image"),
    "an archive among images": Case(
        lambda: pictures() | {"old.zip": archive_bytes(".zip", pictures())}, aside=1, says="1 × is a ZIP archive"
    ),
    "an archive above folders of images": Case(
        lambda: by_year() | {"old.zip": archive_bytes(".zip", pictures())},
        aside=1,
        says="1 × is a ZIP archive; PNG, JPEG, WebP, TIFF, BMP, GIF and PNM are read; unpack it here, or move it",
        labels="folder",
    ),
    "a tar archive above folders of images": Case(
        lambda: by_year() | {"1.tar": archive_bytes(".tar", pictures())},
        aside=1,
        says="1 × is a tar archive; PNG",
        labels="folder",
    ),
    "a packed archive above folders of images": Case(
        lambda: by_year() | {"1.tgz": archive_bytes(".tgz", pictures())},
        aside=1,
        says="1 × is a gzip archive; PNG",
        labels="folder",
    ),
    "a table above folders of images": Case(
        lambda: by_year() | {"metadata.parquet": parquet(file=["0.png"])},
        aside=1,
        says="1 × is a Parquet file; PNG, JPEG, WebP, TIFF, BMP, GIF and PNM are read; move it into a folder of its",
        labels="folder",
    ),
    "folders that are classes": Case(lambda: pictures("cat/#.png", 6) | pictures("dog/#.jpg", 6), labels="folder"),
    "a folder for each image": Case(lambda: pictures("#/image.png")),
    "folders and loose images": Case(lambda: pictures("#.png", 6) | pictures("more/#.png", 6), labels="folder"),
    # --- kinds of files -----------------------------------------------------------------------------------------------
    "JPEG and WebP": Case(lambda: pictures("#.jpg", 6, "JPEG") | pictures("#.webp", 6, "WEBP")),
    "TIFF and BMP": Case(lambda: pictures("#.tif", 6, "TIFF") | pictures("#.bmp", 6, "BMP")),
    "still GIF and PPM": Case(lambda: pictures("#.gif", 6, "GIF") | pictures("#.ppm", 6, "PPM")),
    "half are animations": Case(
        lambda: pictures() | {f"{i}.gif": animation("GIF") for i in range(12)},
        aside=12,
        says="12 of 24 set aside: 12 × is animated or has several pages; save each picture in a file of its own",
    ),
    "prints in CMYK": Case(lambda: pictures() | bad("cmyk.jpg", "cmyk.tiff"), aside=2, says="2 × is CMYK, whose"),
    "photographs of a telephone": Case(lambda: pictures() | bad("photo.heic"), aside=1, says="1 × is a HEIF or AVIF"),
    "a document": Case(lambda: pictures() | bad("paper.pdf"), aside=1, says="1 × is a PDF"),
    "scientific TIFF of floats": Case(lambda: pictures() | bad("float.tiff"), aside=1, says="1 × has floating-point"),
    "a stack of pages": Case(lambda: pictures() | bad("pages.tiff"), aside=1, says="1 × is animated or has several"),
    "downloads that broke off": Case(
        lambda: pictures() | {f"cut{i}.jpg": encode(picture(i, 64, 64), "JPEG")[: 500 + i] for i in range(5)},
        aside=5,
        says="5 × is damaged or truncated",
    ),
    "JPEGs without their end": Case(lambda: {k: v[:-2] for k, v in pictures("#.jpg", kind="JPEG").items()}),
    "empty files": Case(lambda: pictures() | {f"e{i}.png": b"" for i in range(3)}, aside=3, says="3 × is empty"),
    "one huge image": Case(lambda: pictures() | bad("bomb.png"), aside=1, says="20000×20000 pixels, more than max_pix"),
    "16 bits": Case(lambda: {f"{i}.png": encode(noise(8, 8, seed=i).astype(np.uint16) * 257) for i in range(12)}),
    "1 bit": Case(lambda: {f"{i}.png": encode(Image.fromarray(noise(8, 8, seed=i)).convert("1")) for i in range(12)}),
    "palettes": Case(lambda: {f"{i}.png": encode(Image.fromarray(picture(i)).convert("P")) for i in range(12)}),
    "transparency": Case(lambda: {f"{i}.png": encode(noise(8, 8, 4, seed=i)) for i in range(12)}),
    "grey and colour": Case(lambda: pictures(n=6) | {f"g{i}.png": encode(noise(8, 8, seed=i)) for i in range(6)}),
    "a single pixel each": Case(lambda: {f"{i}.png": encode(np.full((1, 1), 20 * i, np.uint8)) for i in range(12)}),
    "nothing but what is no image": Case(
        lambda: bad("text.png", "paper.pdf"), refused="must hold usable images, got none (2 of 2 set aside: 1 × is"
    ),
    "nothing but notes": Case(lambda: {"notes.txt": b"x"}, refused="must hold usable images, got none (no files)"),
    # --- labels -------------------------------------------------------------------------------------------------------
    "a table of labels": Case(
        lambda: pictures() | {"labels.csv": b"file;kind\n" + b"".join(b"%d.png;a\n" % i for i in range(12))},
        labels="labels.csv",
    ),
    "a table about something else": Case(lambda: pictures() | {"labels.csv": b"day,price\nmonday,2.5\n"}),
    # --- archives -----------------------------------------------------------------------------------------------------
    "a ZIP of a Mac": Case(
        lambda: {"x.zip": archive_bytes(".zip", pictures("a/#.png") | {"__MACOSX/a/._0.png": b"x"})}, source="zip"
    ),
    "a ZIP of classes": Case(
        lambda: {"x.zip": archive_bytes(".zip", pictures("a/#.png", 6) | pictures("b/#.png", 6))},
        source="zip",
        labels="folder",
    ),
    "WebDataset": Case(
        lambda: {"x.tar": archive_bytes(".tar", pictures() | {f"{i}.cls": b"%d" % (i % 3) for i in range(12)})},
        source="tar",
        labels="inside",
    ),
    "bad files in an archive": Case(
        lambda: {"x.tgz": archive_bytes(".tgz", pictures() | bad("empty.png", "cmyk.jpg"))},
        aside=2,
        says="1 × is CMYK",
        source="tar",
    ),
    "an archive that broke off": Case(
        lambda: {"x.tar.gz": archive_bytes(".tar.gz", pictures())[:900]}, refused="must be a complete tar or ZIP"
    ),
    "archives above and below": Case(
        lambda: {name: archive_bytes(".tar", pictures()) for name in ("0.tar", "train/1.tar")},
        aside=1,
        says="1 of 13 set aside: 1 × lies in a sub-folder of a folder that has such files itself",
        source="tar",
    ),
    "archives below alone": Case(
        lambda: {
            "README.md": b"x",
            "_SUCCESS": b"",
            "train/0.zip": archive_bytes(".zip", pictures(n=6)),
            "test/0.zip": archive_bytes(".zip", pictures(n=6)),
        },
        source="zip",
    ),
    "a ZIP that is none": Case(lambda: {"x.zip": b"x" * 99}, refused="must be a complete tar or ZIP archive"),
    # --- arrays -------------------------------------------------------------------------------------------------------
    "an array": Case(lambda: {"x.npy": npy(IMAGES)}, source="npy"),
    "channels first": Case(lambda: {"x.npy": npy(noise(12, 3, 8, 8))}, source="npy"),
    "truth values": Case(lambda: {"x.npy": npy(IMAGES > 128)}, source="npy"),
    "floats from 0 to 1": Case(lambda: {"x.npy": npy((IMAGES / 255).astype(np.float32))}, source="npy"),
    "floats a hair beyond 1": Case(
        lambda: {"x.npy": npy((IMAGES / 255 * (1 + 1e-7)).astype(np.float32))}, source="npy"
    ),
    "a folder of arrays": Case(lambda: pictures() | {"a.npy": npy(IMAGES)}, aside=1, says="1 × is no image"),
    "floats from 0 to 255": Case(
        lambda: {"x.npy": npy(IMAGES.astype(np.float32))}, refused="floating-point pixels must lie within 0 and 1"
    ),
    "rows of whole numbers": Case(lambda: {"x.npy": npy(noise(12, 8))}, refused="must hold floats as rows"),
    "words": Case(lambda: {"x.npy": npy(np.array(["a", "b"]))}, refused="must have shape"),
    "images and labels": Case(lambda: {"x.npz": npz(x=IMAGES, y=CLASSES)}, source="npy", labels="inside"),
    "arrays in groups": Case(
        lambda: {"x.h5": hdf5(data__images=IMAGES, data__label=CLASSES)}, source="hdf5", labels="inside"
    ),
    "labels that cannot be columns": Case(lambda: {"x.npz": npz(x=IMAGES, split=CLASSES)}, source="npy"),
    "an empty file": Case(lambda: {"x.npy": b""}, refused="must have a NumPy array header"),
    # --- Parquet ------------------------------------------------------------------------------------------------------
    "Parquet": Case(
        lambda: {"x.parquet": parquet(image=list(pictures().values()), label=CLASSES.tolist(), id=list(range(12)))},
        source="parquet",
        labels="inside",
    ),
    "Parquet with gaps": Case(
        lambda: {"x.parquet": parquet(image=[*pictures().values(), None, b"", b"x"])},
        aside=3,
        says="3 of 15 set aside",
        source="parquet",
    ),
    "Parquet above and below": Case(
        lambda: {name: parquet(image=list(pictures().values())) for name in ("0.parquet", "train/1.parquet")},
        aside=1,
        says="1 of 13 set aside: 1 × lies in a sub-folder of a folder that has such files itself",
        source="parquet",
    ),
    "Parquet in a folder below": Case(
        lambda: {"README.md": b"x", "data/0.parquet": parquet(image=list(pictures().values()))}, source="parquet"
    ),
    "Parquet without images": Case(lambda: {"x.parquet": parquet(a=[1, 2])}, refused="must have one column of image"),
    "a JSON file": Case(lambda: {"x.json": json.dumps([1]).encode()}, refused="must hold usable images, got none"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_first_look_and_reading_agree(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    location = tmp_path / "mine"
    files = case.files()
    for path, content in files.items():
        (location / path).parent.mkdir(parents=True, exist_ok=True)
        (location / path).write_bytes(content)
    if len(files) == 1 and source_of_file(next(iter(files))) is not None:
        location /= next(iter(files))
    layout = Layout(tmp_path, "mine")
    if case.refused:
        with pytest.raises(DataError) as refused:
            take_sample(layout, USUAL, str(location))
        assert case.refused in str(refused.value)
        assert "\n" not in str(refused.value)
        return
    sample = take_sample(layout, USUAL, str(location))
    n_aside = sum(sample.reasons.values())
    assert (len(sample.seen), n_aside, sample.n_usable) == (case.good, case.aside, case.good)
    assert case.says in set_aside(sample.n_seen, sample.reasons)
    assert (sample.source, sample.labels.value) == (case.source, case.labels)
    own = preprocess(source=sample.source, path=str(location), labels=sample.labels.value)
    reader = open_source(replace(own, size=(4, 4), channels="rgb"), layout)
    assert isinstance(reader, OwnSource)
    blocks = list(reader.blocks())
    assert sum(len(block.paths) for block in blocks) == case.good
    assert sum(len(block.rejected) for block in blocks) == case.aside
