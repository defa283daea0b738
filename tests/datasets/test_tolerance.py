"""Single bad files of a folder are set aside by scan, preparation, proposal and delivery alike, for one reason."""

import errno
import gzip
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.image_ids import ContentSet
from pipeline.core.layout import Layout
from pipeline.core.text import count_reasons
from pipeline.datasets.decoding import pool
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.delivery.delivery import open_delivery
from pipeline.datasets.delivery.shard import write_shard
from pipeline.datasets.files import beneath
from pipeline.datasets.files.bounds import FILE_BYTES
from pipeline.datasets.prepare.build import prepare_images
from pipeline.datasets.prepare.manifest import scan
from pipeline.onboarding.sample import take_sample
from tests.datasets.builders import USUAL, preprocess
from tests.datasets.pictures import encode, picture

N_GOOD = 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sound images in a sub-folder, too, among them names that are no UTF-8 and names of several lines."""
    path = tmp_path / "mine"
    strange = os.fsencode(path) + b"/d\xe9"
    os.makedirs(strange)  # noqa: PTH103 - a name of bytes
    names = [b"caf\xe9.png", b"new\nline.png", b"d\xe9/x\xff.png"]
    names += [f"{number}.png".encode() for number in range(N_GOOD - len(names))]
    for number, name in enumerate(names):
        with open(os.fsencode(path) + b"/" + name, "wb") as file:  # noqa: PTH123 - likewise
            file.write(encode(picture(number, 8, 8)))
    return path


def fail_to_open(name: str) -> Callable[..., int]:
    """Return an ``os.open`` that meets a bad sector at one file."""
    real = os.open

    def attempt(path: Any, *arguments: Any, **more: Any) -> int:
        if path == name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, *arguments, **more)

    return attempt


def lose_folder(folder: Path, name: str) -> Callable[..., Any]:
    """Return a listing after whose first folder another one is gone."""
    real = beneath.Beneath._list

    def listed(self: beneath.Beneath, below: str, *above: Any) -> Any:
        if below:
            return real(self, below, *above)
        (folder / name).mkdir()
        found = real(self, below, *above)
        (folder / name).rmdir()
        return found

    return listed


def add_bad_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Add what is refused; return what each reason begins with."""
    (folder / "scan.nii.gz").write_bytes(gzip.compress(bytes(range(256)))[:50])
    (folder / "empty.png").touch()
    (folder / "cut.png").write_bytes(encode(picture(0, 8, 8))[:60])
    (folder / "dangling.png").symlink_to("nowhere.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "out.png").symlink_to("/etc/passwd")
    (folder / "again").symlink_to(".")
    os.mkfifo(folder / "pipe.png")
    with (folder / "film.avi").open("wb") as file:
        file.truncate(FILE_BYTES + 1)
    (folder / "sector.png").write_bytes(b"x")
    monkeypatch.setattr(beneath.os, "open", fail_to_open("sector.png"))
    monkeypatch.setattr(beneath.Beneath, "_list", lose_folder(folder, "gone"))
    return {
        "scan.nii.gz": "is a gzip archive",
        "empty.png": "is empty",
        "cut.png": "is damaged or truncated",
        "dangling.png": "leads nowhere",
        "loop.png": "is a link that leads round",
        "out.png": "is a link that leads out",
        "again": "is a link to a folder",
        "pipe.png": "is a FIFO",
        "film.avi": f"has {FILE_BYTES + 1} bytes",
        "sector.png": "cannot be read (Input/output error)",
        "gone": "is a folder that cannot be read (No such file",
    }


def test_bad_files_are_set_aside_one_by_one_wherever_a_folder_is_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This process decodes, as others would not know of the bad sector.
    for name in ("_LIGHT_BYTES", "_CHUNK_BYTES"):
        monkeypatch.setattr(pool, name, 2 * FILE_BYTES * pool._LOOKED_AT)
    expected = add_bad_files(folder, monkeypatch)
    layout, params = Layout(tmp_path, "mine"), preprocess(source="folder", path="mine")
    layout.source_manifest.parent.mkdir(parents=True)

    def check(found: list[tuple[str, str]], names: set[str]) -> None:
        assert {name for name, _ in found} == names
        assert [name for name, reason in found if not reason.startswith(expected[name])] == []

    unreadable: list[tuple[str, str]] = []
    scan(layout, params, unreadable)
    check(unreadable, set(expected) - {"scan.nii.gz", "empty.png", "cut.png"})
    account = prepare_images(layout, params)
    assert (account.n_total, sum(account.reasons.values())) == (N_GOOD + len(expected), len(expected))
    sample = take_sample(layout, USUAL, "mine")
    assert (sample.n_usable, sample.reasons) == (N_GOOD, account.reasons)
    nothing = ContentSet.of_ids([])
    delivery = open_delivery(layout, params, "mine", 1)
    shard = write_shard(
        layout, delivery, ImageTransform.from_params(params), known=nothing, removed=nothing, created="2026-01-02"
    )
    check(shard.quarantined, set(expected))
    assert shard.n_images == N_GOOD
    assert count_reasons(reason for _, reason in shard.quarantined) == account.reasons


def test_a_damaged_gzip_among_images_is_pinned_as_it_is(folder: Path, tmp_path: Path) -> None:
    layout, params = Layout(tmp_path, "mine"), preprocess(source="folder", path="mine")
    layout.source_manifest.parent.mkdir(parents=True)
    whole = gzip.compress(np.arange(256, dtype=np.uint8).tobytes())
    values = []
    for content in (whole, whole[:50], whole[:40], b"no gzip"):
        (folder / "x.nii.gz").write_bytes(content)
        values.append(scan(layout, replace(params)))
    assert len({value["root"] for value in values}) == 4
    assert {value["count"] for value in values} == {N_GOOD + 1}
