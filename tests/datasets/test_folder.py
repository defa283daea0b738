import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.decoding.decode import decode_image, without_warnings
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.prepare.manifest import FileHashes
from pipeline.datasets.readers.base import Source, open_own, open_source
from pipeline.datasets.readers.block import Block
from pipeline.datasets.readers.listing import list_folder
from pipeline.datasets.store.identity import hash_images
from tests.datasets.builders import preprocess
from tests.datasets.pictures import BAD_FILES, encode, picture, write_bad_entries, write_bad_files


def folder_source(root: Path, **changes: Any) -> Source:
    return open_source(preprocess(source="folder", **{"path": "data", **changes}), Layout(root, "mine"))


def read_all(source: Source) -> tuple[list[Block], dict[str, str]]:
    blocks = list(source.blocks())
    return blocks, dict(pair for block in blocks for pair in block.rejected)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


# --- which files ------------------------------------------------------------------------------------------------------


def test_listing_takes_everything_but_hidden_files_and_sidecars(data):
    (data / "b" / "deep").mkdir(parents=True)
    (data / ".hidden").mkdir()
    for name in ("b/deep/2.PNG", "a.jpg", "no_ending", "b/x.gif"):
        (data / name).write_bytes(b"")
    for name in (".DS_Store", ".hidden/3.png", "labels.csv", "README.md", "b/notes.TXT", "Thumbs.db"):
        (data / name).write_bytes(b"")
    listing = list_folder(str(data))
    assert listing.names == ["a.jpg", "b/deep/2.PNG", "b/x.gif", "no_ending"]
    assert listing.rejected == []


def test_circular_links_end(data):
    (data / "round").symlink_to(data)
    (data / "a.png").write_bytes(b"")
    listing = list_folder(str(data))
    assert listing.names == ["a.png"]
    assert [name for name, _ in listing.rejected] == ["round"]


def test_names_that_are_no_utf8_are_read_and_shown(data):
    raw = os.fsdecode(b"caf\xe9.png")
    (data / raw).write_bytes(encode(picture(1)))
    (block,), rejected = read_all(folder_source(data.parent))
    assert block.paths == ["caf\\xe9.png"]
    assert rejected == {}


# --- reading ----------------------------------------------------------------------------------------------------------


def test_mixed_folder_keeps_the_good_and_says_why_not_of_the_rest(data, tmp_path):
    good = {}
    for i, (kind, ending) in enumerate(
        [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp"), ("TIFF", "tif"), ("BMP", "bmp")]
    ):
        good[f"{i}.{ending}"] = encode(picture(i, 8 + i, 12), kind)
    good["grey/5.png"] = encode(picture(5)[:, :, 0])
    (data / "grey").mkdir()
    for name, content in good.items():
        (data / name).write_bytes(content)
    write_bad_files(data)
    reasons = write_bad_entries(data, tmp_path / "outside") | {name: reason for name, (_, reason) in BAD_FILES.items()}

    source = folder_source(tmp_path, size=(6, 6), fit="crop", channels="rgb")
    blocks, rejected = read_all(source)
    assert source.n_images() == len(good) + len(reasons)
    assert rejected.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert re.match(reason, rejected[name]), (name, rejected[name])

    assert [path for block in blocks for path in block.paths] == sorted(good)
    transform = ImageTransform((6, 6), "crop", "rgb")
    decoded = [decode_image(good[name]) for name in sorted(good)]
    pixels = np.concatenate([np.stack(list(block.images)) for block in blocks if len(block.images)])
    assert np.array_equal(pixels, transform.apply(decoded))
    assert np.array_equal(np.concatenate([block.hashes for block in blocks]), hash_images(decoded))
    sizes = [block.shapes[:, 1:] for block in blocks]
    assert np.concatenate(sizes).tolist() == [list(image.shape[1:]) for image in decoded]


def test_images_of_differing_shape_need_a_size(data, tmp_path):
    (data / "a.png").write_bytes(encode(picture(1, 8, 8)))
    (data / "b.png").write_bytes(encode(picture(2, 8, 9)))
    with pytest.raises(
        DataError, match=r"a.png is 8×8 with 3 channels and b.png 8×9 with 3 channels; set preprocess.size"
    ):
        read_all(folder_source(tmp_path))
    (data / "b.png").write_bytes(encode(picture(2, 8, 8)[:, :, 0]))
    with pytest.raises(DataError, match=r"b.png 8×8 with 1 channel; set preprocess.size and preprocess.channels"):
        read_all(folder_source(tmp_path))
    (block,), _ = read_all(folder_source(tmp_path, channels="grey"))
    assert [image.shape for image in block.images] == [(1, 8, 8)] * 2


@pytest.mark.parametrize("kind", ["missing", "a file"])
def test_missing_folder_is_refused(tmp_path, kind):
    if kind == "a file":
        (tmp_path / "data").write_bytes(b"")
    with pytest.raises(DataError, match=r"data must be a folder of images; mount it or correct the path"):
        folder_source(tmp_path).fetch()


def test_labels_inside_a_folder_are_refused(data, tmp_path):
    with pytest.raises(
        DataError, match=r"labels: inside needs a source that holds labels .*, got a folder; use folder, a"
    ):
        folder_source(tmp_path, labels="inside")


# --- labels -----------------------------------------------------------------------------------------------------------


def test_folders_names_are_classes(data, tmp_path):
    for name in ("cats/1.png", "dogs/2.png", "old/cats/3.png", "4.png", "cats/bad.png"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(encode(picture(len(name))) if "bad" not in name else b"")
    source = folder_source(tmp_path, labels="folder")
    (block,), _ = read_all(source)
    assert dict(zip(block.paths, block.labels["folder"].tolist(), strict=True)) == {
        "4.png": -1,
        "cats/1.png": 0,
        "dogs/2.png": 1,
        "old/cats/3.png": 0,
    }
    assert source.class_names() == {"folder": ["cats", "dogs"]}


def test_csv_gives_several_factors(data, tmp_path):
    for i in range(4):
        (data / f"{i}.png").write_bytes(encode(picture(i)))
    (data / "labels.csv").write_text(
        "file,kind,count\n2.png,dog,7\n./0.png,cat,0\n3.png,,\nelsewhere.png,fish,9\n", "utf-8-sig"
    )
    source = folder_source(tmp_path, labels="labels.csv")
    (block,), _ = read_all(source)
    assert block.labels["kind"].tolist() == [0, -1, 1, -1]
    assert block.labels["count"].tolist() == [0, -1, 7, -1]
    assert source.class_names() == {"kind": ["cat", "dog"]}


CSV_RULES = {
    "missing": (None, r"labels.csv is missing; put the file there"),
    "empty": ("", r"must have a first line with the columns' names, got an empty file"),
    "one column": ("file\n0.png\n", r"must have a first line with a column of file names and at least one factor"),
    "no UTF-8": (b"file,kind\n0.png,\xff\n", r"must be a CSV in UTF-8 or UTF-16, but"),
    "open quote": ('file,kind\n0.png,"dog\n', r"must be a CSV in UTF-8 or UTF-16, but"),
    "ragged": ("file,kind\n0.png\n", r"must have 2 cells in every line, got 1 in line 2"),
    "twice": ("file,kind\n0.png,a\n0.png,b\n", r"must name a file once, got '0.png' again in line 3"),
    "same name": ("file,kind,kind\n0.png,a,b\n", r"must name each column once"),
    "no file": (
        "file,kind\nother.png,a\n",
        r"must name files as they lie below the folder, e.g. '0.png', got 'other.png'",
    ),
    "reserved": ("file,split\n0.png,a\n", r"a factor's name must be letters, digits and _ and none of image_id, split"),
    "strange": ("file,my kind\n0.png,a\n", r"a factor's name must be .* got 'my kind'; rename the column"),
    "too large": ("file,kind\n0.png,2147483648\n", r"values of kind must be at most 2147483647, got 2147483648"),
    "folder": (Path, r"must be a file, got a folder, FIFO or device"),
}


@pytest.mark.parametrize("rule", list(CSV_RULES))
def test_csv_rules(data, tmp_path, rule):
    content, message = CSV_RULES[rule]
    (data / "0.png").write_bytes(encode(picture(0)))
    path = data / "labels.csv"
    if content is Path:
        path.mkdir()
    elif content is not None:
        path.write_bytes(content if isinstance(content, bytes) else str(content).encode())
    with pytest.raises(DataError, match=message):
        read_all(folder_source(tmp_path, labels="labels.csv"))


# --- URLs and pinning -------------------------------------------------------------------------------------------------


@pytest.fixture
def memory() -> Any:
    files: Any = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


def test_folder_behind_a_url_reads_as_a_local_one(data, tmp_path, memory):
    for name in ("a/1.png", "b/2.png", "a/note.txt", "a/cut.png"):
        content = encode(picture(len(name) + ord(name[0])))[: 60 if "cut" in name else None]
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_bytes(content)
        memory.pipe(f"/bucket/{name}", content)
    local, remote = (
        folder_source(tmp_path, labels="folder"),
        folder_source(tmp_path, labels="folder", path="memory://bucket"),
    )
    (here,), rejected_here = read_all(local)
    (there,), rejected_there = read_all(remote)
    assert list(there.paths) == list(here.paths) == ["a/1.png", "b/2.png"]
    assert rejected_here == rejected_there
    assert np.array_equal(np.stack(list(here.images)), np.stack(list(there.images)))
    assert there.labels["folder"].tolist() == here.labels["folder"].tolist() == [0, 1]
    assert remote.n_images() == 3


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if "broken" in self.path:
            self.send_error(500)
        else:
            super().do_GET()


@pytest.fixture
def server(data: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(data))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_folder_behind_a_web_server_is_read(data, tmp_path, server):
    (data / "a").mkdir()
    for name in ("a/1.png", "2.png"):
        (data / name).write_bytes(encode(picture(len(name))))
    (block,), rejected = read_all(folder_source(tmp_path, path=server))
    assert list(block.paths) == ["2.png", "a/1.png"]
    assert rejected == {}
    (data / "broken.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"http://127.0.0.1:\d+ cannot be read \(.*500.*\); mend access to it"):
        read_all(folder_source(tmp_path, path=server))


def test_wrong_urls_are_refused(tmp_path, memory):
    with pytest.raises(DataError, match=r"memory://nothing (must be a folder with images|cannot be read)"):
        folder_source(tmp_path, path="memory://nothing").fetch()
    with pytest.raises(DataError, match=r"nosuch://x must have a protocol that fsspec can read"):
        folder_source(tmp_path, path="nosuch://x").fetch()


@pytest.mark.parametrize(
    ("path", "got"),
    [
        ("zip://x::/etc/passwd", "'zip'"),
        ("simplecache::http://127.0.0.1/x", "'simplecache'"),
        ("http://127.0.0.1/x::/etc/passwd", "a chain of URLs"),
        ("github://a", "'github'"),
        ("reference://", "'reference'"),
        ("jupyter://x", "'jupyter'"),
        ("dir://x", "'dir'"),
    ],
)
def test_protocols_that_lead_elsewhere_are_refused_by_name(tmp_path, path, got):
    sources = [folder_source(tmp_path, path=path), open_own(preprocess(), Layout(tmp_path, "mine"), path)]
    for source in sources:
        with pytest.raises(DataError, match=f"must have a protocol that fsspec can read, one of .*, got {got}; cor"):
            source.fetch()


@pytest.mark.parametrize(
    "url", ["http://#/x.zip", "http://#/x.npy", "http://#/x.parquet", "http://#/pictures", "ftp://#/x"]
)
def test_a_server_that_does_not_answer_is_no_missing_file(tmp_path, url):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        place = url.replace("#", f"127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(
            DataError, match=rf"{place} cannot be read \(Conn.*(?:refused|failed).*\); mend access to it"
        ) as refused:
            open_own(preprocess(), Layout(tmp_path, "mine"), place).n_images()
    assert "\n" not in str(refused.value)


def test_a_file_that_a_server_lacks_is_missing(tmp_path, data, server):
    with pytest.raises(DataError, match=r"x.zip is missing; put the file there"):
        open_own(preprocess(), Layout(tmp_path, "mine"), f"{server}/x.zip").n_images()
    with pytest.raises(DataError, match=r"must be a folder with images, got nothing there; correct the path"):
        open_own(preprocess(), Layout(tmp_path, "mine"), server).n_images()


@pytest.mark.parametrize("where", ["local", "remote"])
def test_fingerprint_follows_content_not_names(data, tmp_path, memory, where):
    def put(names: dict[str, int]) -> None:
        for path in sorted(data.rglob("*.png")):
            path.unlink()
        memory.store.clear()
        for name, seed in names.items():
            (data / name).parent.mkdir(exist_ok=True)
            (data / name).write_bytes(encode(picture(seed)))
            memory.pipe(f"/data/{name}", encode(picture(seed)))

    def pinned(labels: str | None) -> dict[str, Any]:
        path = "data" if where == "local" else "memory://data"
        return folder_source(tmp_path, labels=labels, path=path).fingerprint(FileHashes(tmp_path / "list.parquet"))

    put({"a/1.png": 1, "b/2.png": 2})
    before: dict[str | None, Any] = {labels: pinned(labels) for labels in (None, "folder")}
    put({"b/9.png": 1, "a/8.png": 2})
    assert pinned(None) == before[None]
    assert pinned("folder") != before["folder"]
    put({"a/9.png": 1, "b/8.png": 2})
    assert pinned("folder") == before["folder"]
    put({"a/9.png": 1, "b/8.png": 3})
    assert pinned(None) != before[None]
    assert before[None]["count"] == 2


def test_fingerprint_follows_the_csv(data, tmp_path):
    (data / "0.png").write_bytes(encode(picture(0)))
    values = []
    for text in ("file,kind\n0.png,a\n", "file,kind\n0.png,b\n"):
        (tmp_path / "labels.csv").write_text(text)
        source = folder_source(tmp_path, labels=str(tmp_path / "labels.csv"))
        values.append(source.fingerprint(FileHashes(tmp_path / "list.parquet")))
    assert values[0] != values[1]


# --- fuzzing ----------------------------------------------------------------------------------------------------------


def _truncate(content: bytes, n: int) -> bytes:
    return content[: n % (len(content) + 1)]


def _flip(content: bytes, n: int) -> bytes:
    damaged = bytearray(content)
    damaged[n % len(damaged)] ^= 1 + n % 255
    return bytes(damaged)


DAMAGES: list[Callable[[bytes, int], bytes]] = [lambda content, n: content, _truncate, _flip, lambda content, n: b""]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["PNG", "JPEG", "BMP", "WEBP"]), st.sampled_from(DAMAGES), st.integers(0, 2**16)),
        max_size=6,
    )
)
def test_fuzzed_folders_lose_and_invent_nothing(tmp_path, files):
    folder = tmp_path / "data"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for i, (kind, damage, n) in enumerate(files):
        (folder / f"{i}.{kind}").write_bytes(damage(encode(picture(i), kind), n))
    with without_warnings():
        blocks, rejected = read_all(folder_source(tmp_path, size=(4, 4), channels="grey", max_pixels=10_000))
    accepted = [path for block in blocks for path in block.paths]
    assert sorted([*accepted, *rejected]) == sorted(f"{i}.{kind}" for i, (kind, _, _) in enumerate(files))
    assert all(image.shape == (1, 4, 4) for block in blocks for image in block.images)
    assert all(rejected.values())
    untouched = {f"{i}.{kind}" for i, (kind, damage, _) in enumerate(files) if damage is DAMAGES[0]}
    assert untouched <= set(accepted)
