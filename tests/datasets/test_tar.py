"""Images in tar and ZIP archives: the same as in a folder, whatever an archive says of itself."""

import gzip
import io
import json
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import DataError
from pipeline.core.image_ids import ContentSet
from pipeline.core.layout import Layout
from pipeline.datasets.decoding import pool as decode_pool
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.delivery.delivery import open_delivery
from pipeline.datasets.delivery.shard import ShardResult, write_shard
from pipeline.datasets.prepare.build import prepare_images
from pipeline.datasets.prepare.manifest import FileHashes, scan
from pipeline.datasets.readers import archive_members
from pipeline.datasets.readers.base import Source, open_source, recognise
from pipeline.onboarding.sample import take_sample
from tests.datasets.archives import archive_bytes, entry, raw_header, tar_bytes, write_archive, zip_bytes
from tests.datasets.builders import USUAL, DecodeHere, preprocess
from tests.datasets.pictures import BAD_FILES, encode, picture

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")
FILES = {
    f"{kind}/{number:02}.png": encode(picture(10 * number + len(kind))) for kind in ("a", "bb") for number in range(9)
}
NOTHING = ContentSet.of_ids([])
END = bytes(2 * tarfile.BLOCKSIZE)


@pytest.fixture(autouse=True)
def _decode_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_pool, "_Pool", DecodeHere)


def source_of(root: Path, path: str = "x.tar", **changes: Any) -> Source:
    kind = "zip" if path.endswith(".zip") else "tar"
    return open_source(preprocess(**{"source": kind, "path": path, **changes}), Layout(root, "mine"))


def read(source: Source) -> tuple[list[str], dict[str, list[int]], dict[str, str]]:
    """Return the paths of the images, their labels, and the reasons for what was refused."""
    blocks = list(source.blocks())
    labels = {name: np.concatenate([block.labels[name] for block in blocks]).tolist() for name in blocks[0].labels}
    rejected = {name: reason for block in blocks for name, reason in block.rejected}
    return [path for block in blocks for path in block.paths], labels, rejected


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


# --- the same as a folder ---------------------------------------------------------------------------------------------


def prepared(root: Path, **changes: Any) -> dict[str, Any]:
    """Prepare a source and return what all its tables and stores hold."""
    layout, params = Layout(root, "mine"), preprocess(**changes)
    scan(layout, params)
    prepare_images(layout, params)
    tables = {path.name: pq.read_table(path).to_pydict() for path in layout.prepared.glob("*.parquet")}
    for path in layout.prepared.glob("*.h5"):
        with h5py.File(path) as file:
            tables |= {f"{path.name}/{name}": np.asarray(file[name]).tolist() for name in file}
    return tables


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_archive_gives_the_tables_of_the_folder(tmp_path: Path, suffix: str) -> None:
    files = FILES | {"a/bad.png": b"only words", "a/note.txt": b"no image", ".hidden/1.png": b""}
    files = dict(sorted(files.items()))
    write_folder(tmp_path / "folder" / "own", files)
    write_archive(tmp_path / "archive" / f"own{suffix}", files)
    by_folder = prepared(tmp_path / "folder", source="folder", path="own", labels="folder", size=(6, 8))
    source = "zip" if suffix == ".zip" else "tar"
    by_archive = prepared(tmp_path / "archive", source=source, path=f"own{suffix}", labels="folder", size=(6, 8))
    assert len(by_folder["images.parquet"]["image_id"]) == len(FILES)
    assert by_folder["quarantine.parquet"]["file"] == ["a/bad.png"]
    assert by_archive == by_folder


def ingest(layout: Layout, location: str | Path) -> ShardResult:
    delivery = open_delivery(layout, preprocess(), str(location), workers=1)
    transform = ImageTransform((6, 8), "stretch", "rgb")
    return write_shard(layout, delivery, transform, known=NOTHING, removed=NOTHING, created="2026-01-02")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_delivered_archive_is_the_batch_of_the_folder(tmp_path: Path, suffix: str) -> None:
    layout = Layout(tmp_path / "repo", "mine")
    by_folder = ingest(layout, write_folder(tmp_path / "folder", FILES))
    by_archive = ingest(layout, write_archive(tmp_path / f"x{suffix}", FILES | {"no.png": b""}))
    assert (by_archive.batch_id, by_archive.n_images) == (by_folder.batch_id, len(FILES))
    assert [name for name, _ in by_archive.quarantined] == ["no.png"]


def test_shards_are_read_as_one_source(tmp_path: Path) -> None:
    names = sorted(FILES)
    for shard in range(3):
        some = {name: FILES[name] for name in names[6 * shard : 6 * shard + 6]}
        write_archive(tmp_path / "shards" / f"s-{shard:02}.tar", some)
    (tmp_path / "shards" / "README.md").write_text("no shard")
    folder, pattern = source_of(tmp_path, "shards"), source_of(tmp_path, "shards/s-{00..02}.tar")
    paths, labels, rejected = read(source_of(tmp_path, "shards", labels="folder"))
    assert paths == read(pattern)[0] == [f"s-{row // 6:02}.tar/{name}" for row, name in enumerate(names)]
    assert (labels, rejected) == ({"folder": [0] * 9 + [1] * 9}, {})
    assert folder.n_images() == pattern.n_images() == 18
    hashes = FileHashes(tmp_path / "list")
    assert folder.fingerprint(hashes) == pattern.fingerprint(hashes)
    assert sorted(folder.fingerprint(hashes)["files"]) == ["s-00.tar", "s-01.tar", "s-02.tar"]
    assert ingest(Layout(tmp_path / "repo", "mine"), tmp_path / "shards").n_images == 18
    assert ingest(Layout(tmp_path / "repo", "mine"), tmp_path / "shards" / "s-{01..02}.tar").n_images == 12
    assert take_sample(Layout(tmp_path, "mine"), USUAL, f"{tmp_path}/shards/s-{{00..01}}.tar").n_images == 12


def test_what_lies_beside_archives_is_counted_and_changes_no_image(tmp_path: Path) -> None:
    archives = {"0.tar": archive_bytes(".tar", FILES)}
    write_folder(tmp_path / "pure", archives)
    beside = {"sub/1.tar": archive_bytes(".tar", FILES), "sub/1.png": encode(picture(99)), "_SUCCESS": b""}
    write_folder(tmp_path / "mixed", archives | beside | {"README.md": b"", "labels.csv": b"", ".hidden/1.png": b""})
    (tmp_path / "mixed" / "album").symlink_to(tmp_path)
    pure, mixed = source_of(tmp_path, "pure"), source_of(tmp_path, "mixed")
    hashes = FileHashes(tmp_path / "list")
    assert mixed.fingerprint(hashes) == pure.fingerprint(hashes)
    paths, _, rejected = read(mixed)
    assert paths == read(pure)[0] == list(FILES)
    assert rejected == {
        "album": "is a link to a folder, which is not followed; copy the folder instead",
        "sub/1.png": "lies in a folder of files that end in .tar or .tar.gz or .tgz, which alone are read; move it to "
        "a folder of its own",
        "sub/1.tar": "lies in a sub-folder of a folder that has such files itself, which alone are read; move it to "
        "these",
    }
    assert mixed.n_images() == len(FILES) + 3
    result = ingest(Layout(tmp_path / "repo", "mine"), tmp_path / "mixed")
    assert (result.n_images, len(result.quarantined)) == (1, 4), "by itself it is a folder with one image"


def test_archives_in_sub_folders_are_named_by_their_paths(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_archive(tmp_path / "all" / part / "0.zip", {f"{part}.png": encode(picture(len(part)))})
    source = source_of(tmp_path, "all", source="zip")
    assert read(source)[0] == ["test/0.zip/test.png", "train/0.zip/train.png"]
    assert sorted(source.fingerprint(FileHashes(tmp_path / "list"))["files"]) == ["test/0.zip", "train/0.zip"]
    assert ingest(Layout(tmp_path / "repo", "mine"), tmp_path / "all").n_images == 2


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_archives_are_read_from_urls(tmp_path: Path, suffix: str) -> None:
    files = FILES | {"a/00.cls": b"4"}
    fsspec.filesystem("memory").pipe(f"/archives/x{suffix}", archive_bytes(suffix, files))
    source = source_of(tmp_path, f"memory://archives/x{suffix}", labels="inside")
    paths, labels, rejected = read(source)
    assert (paths, rejected) == (list(FILES), {})
    assert labels == {"class": [4] + [-1] * 17}
    with pytest.raises(DataError, match=r"memory://archives/y.tar is missing"):
        source_of(tmp_path, "memory://archives/y.tar").fetch()


def test_what_a_path_holds_is_told_by_endings(tmp_path: Path) -> None:
    assert recognise("s3://bucket/x-{000..999}.tar") == recognise("s3://bucket/X.TAR.GZ") == "tar"
    assert recognise("https://host/x.zip") == "zip"
    write_archive(tmp_path / "x" / "1.tgz", FILES)
    write_archive(tmp_path / "x" / "2.tar", FILES)
    assert (recognise(f"{tmp_path}/x"), recognise(f"{tmp_path}/x/1.tgz")) == ("tar", "tar")
    (tmp_path / "x" / "_SUCCESS").touch()
    assert recognise(f"{tmp_path}/x") == "tar"
    (tmp_path / "x" / "image.png").touch()
    assert recognise(f"{tmp_path}/x") == "folder", "an archive among images must not hide them"


# --- labels -----------------------------------------------------------------------------------------------------------


def test_labels_stand_beside_the_images(tmp_path: Path) -> None:
    data = encode(picture(0))
    files = {
        "1.png": data,
        "1.cls": b"3\n",
        "1.json": json.dumps({"colour": "red", "n": 4, "share": 0.5, "seen": True, "more": []}).encode(),
        "2.json": b'{"colour": "blue", "n": 7}',
        "2.left.png": data,
        "2.right.webp": encode(picture(1), "WEBP", lossless=True),
        "3.png": data,
        "3.txt": b"a caption",
        "4.5.png": data,
        "4.5.cls": b"8",
        "4.6.png": data,
        "._1.cls": b"\xff",
    }
    source = source_of(tmp_path, labels="inside")
    write_archive(tmp_path / "x.tar", files)
    paths, labels, rejected = read(source)
    assert paths == ["1.png", "2.left.png", "2.right.webp", "3.png", "4.5.png", "4.6.png"]
    assert rejected == {}
    assert labels == {
        "class": [3, -1, -1, -1, 8, -1],
        "colour": [1, 0, 0, -1, -1, -1],
        "n": [4, 7, 7, -1, -1, -1],
    }
    assert source.class_names() == {"colour": ["blue", "red"]}
    assert take_sample(Layout(tmp_path, "mine"), USUAL, "x.tar").labels.value == "inside"


def test_labels_of_each_shard_are_its_own(tmp_path: Path) -> None:
    for shard in range(2):
        files = {"1.cls": [b"cat", b"dog"][shard], "1.png": encode(picture(shard))}
        write_archive(tmp_path / "shards" / f"{shard}.tar", files)
    source = source_of(tmp_path, "shards", labels="inside")
    assert read(source)[1] == {"class": [0, 1]}
    assert source.class_names() == {"class": ["cat", "dog"]}


def test_labels_that_cannot_be_read_are_set_aside_alone(tmp_path: Path) -> None:
    bad = {
        "a.cls": (b"\xff\xfe", "is no label in UTF-8 or JSON; write it again"),
        "b.json": (b'{"x": ', "is no label in UTF-8 or JSON; write it again"),
        "c.json": (b"[" * 100_000, "is no label in UTF-8 or JSON; write it again"),
        "d.json": (b"[1]", "is no JSON object with a factor an entry; write it again"),
        "e.cls": (b"x" * 70_000, "holds a label of more than 65536 characters; shorten it"),
        "f.json": (bytes(2**20 + 1), "has 1048577 bytes, more than the 1048576 that labels need; shorten it"),
    }
    data = encode(picture(0))
    files = {name: content for name, (content, _) in bad.items()}
    files |= {f"{key}.png": data for key in "abcdefg"} | {"g.cls": b"1"}
    write_archive(tmp_path / "x.tar", files)
    source = source_of(tmp_path, labels="inside")
    paths, labels, rejected = read(source)
    assert paths == [f"{key}.png" for key in "abcdefg"]
    assert labels == {"class": [-1] * 6 + [1]}
    assert rejected == {name: reason for name, (_, reason) in bad.items()}
    assert source.n_images() == 13
    assert source_of(tmp_path).n_images() == 7, "without labels: inside nobody looks at them"


def test_a_csv_names_the_files_in_the_archive(tmp_path: Path) -> None:
    write_archive(tmp_path / "x.zip", FILES)
    (tmp_path / "x.csv").write_text("file,kind\na/00.png,5\n./bb/03.png,6\n")
    source = source_of(tmp_path, "x.zip", labels="x.csv")
    paths, labels, _ = read(source)
    assert {path: label for path, label in zip(paths, labels["kind"], strict=True) if label != -1} == {
        "a/00.png": 5,
        "bb/03.png": 6,
    }
    assert "labels" in source.fingerprint(FileHashes(tmp_path / "list"))


@pytest.mark.parametrize(("files", "expected"), [(FILES, "folder"), ({"1.png": FILES["a/00.png"]}, None)])
def test_folders_are_proposed_as_classes_where_nothing_else_is(tmp_path: Path, files: Any, expected: Any) -> None:
    # What programs note of every image may have names that no factor can have.
    write_archive(tmp_path / "x.tar", files | {"a/00.json": b'{"image_id": "7"}'})
    assert take_sample(Layout(tmp_path, "mine"), USUAL, "x.tar").labels.value == expected


# --- one by one -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_bad_files_are_set_aside_one_by_one(tmp_path: Path, suffix: str) -> None:
    files = {name: make() for name, (make, _) in BAD_FILES.items()}
    write_archive(tmp_path / f"x{suffix}", FILES | files)
    paths, _, rejected = read(source_of(tmp_path, f"x{suffix}", size=(4, 4), channels="rgb"))
    assert paths == list(FILES)
    assert rejected.keys() == BAD_FILES.keys()


def test_entries_that_are_no_files_and_names_that_are_paths_do_no_harm(tmp_path: Path) -> None:
    data, secret = encode(picture(0)), tmp_path / "secret.png"
    secret.write_bytes(encode(picture(1)))
    extra = [
        entry("soft.png", tarfile.SYMTYPE, str(secret)),
        entry("hard.png", tarfile.LNKTYPE, "fine.png"),
        entry("pipe.png", tarfile.FIFOTYPE),
        entry("tty.png", tarfile.CHRTYPE),
        entry("disk.png", tarfile.BLKTYPE),
        entry("folder.png", tarfile.DIRTYPE),
    ]
    files = {"/etc/passwd.png": data, "./fine.png": data, "a/../../up.png": data, "fine.png": data, "a//b.png": data}
    (tmp_path / "x.tar").write_bytes(tar_bytes(files, *extra))
    before = sorted(tmp_path.parent.iterdir())
    paths, _, rejected = read(source_of(tmp_path))
    assert paths == ["etc/passwd.png", "fine.png", "fine.png", "a/b.png"]
    assert rejected == {
        "../up.png": "has a name that leads out of the archive; name it without ..",
        "soft.png": "is a link, which is not followed in an archive; store the file itself",
        "hard.png": "is a link, which is not followed in an archive; store the file itself",
        "pipe.png": "is a FIFO, no file; remove it",
        "tty.png": "is a device, no file; remove it",
        "disk.png": "is a device, no file; remove it",
    }
    assert sorted(tmp_path.parent.iterdir()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret.png", "x.tar"]


def test_names_of_any_bytes_are_kept(tmp_path: Path) -> None:
    name = "caf\udce9.png"
    info = tarfile.TarInfo(name)
    info.size = len(FILES["a/00.png"])
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(FILES["a/00.png"]))
    assert read(source_of(tmp_path))[0] == [r"caf\xe9.png"]


def test_files_with_holes_and_of_other_packing_are_set_aside(tmp_path: Path) -> None:
    data = FILES["a/00.png"]
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(2**40)}
    info = tarfile.TarInfo("holes.png")
    info.pax_headers, info.size = sparse | {"GNU.sparse.name": "holes.png"}, 512
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.addfile(info, io.BytesIO(b"1\n0\n0\n".ljust(512, b"\0")))
    with (tmp_path / "x.tar").open("r+b") as file:
        content = file.read().rstrip(b"\0")
        file.seek(-(-len(content) // 512) * 512)
        file.write(tar_bytes({"fine.png": data}))
    paths, _, rejected = read(source_of(tmp_path))
    assert (paths, rejected) == (["fine.png"], {"holes.png": "is stored with holes; store it without"})

    packed = bytearray(zip_bytes({"locked.png": data}))
    for signature, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        packed[packed.index(signature) + place] |= 1
    (tmp_path / "locked.zip").write_bytes(packed)
    assert read(source_of(tmp_path, "locked.zip"))[2] == {"locked.png": "is encrypted; store it without a password"}
    (tmp_path / "lzma.zip").write_bytes(zip_bytes({"x.png": data}, zipfile.ZIP_LZMA))
    assert read(source_of(tmp_path, "lzma.zip"))[2] == {
        "x.png": "is packed by another method than deflate; pack it anew"
    }


def test_a_file_damaged_in_a_zip_is_set_aside_alone(tmp_path: Path) -> None:
    data = bytearray(zip_bytes(FILES, zipfile.ZIP_STORED))
    place = data.index(FILES["bb/03.png"])
    data[place + 60] ^= 255
    (tmp_path / "x.zip").write_bytes(data)
    paths, _, rejected = read(source_of(tmp_path, "x.zip"))
    assert len(paths) == len(FILES) - 1
    assert rejected.keys() == {"bb/03.png"}
    assert rejected["bb/03.png"].startswith("is damaged in its archive (Bad CRC-32")


def test_a_link_in_a_zip_is_not_followed(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("fine.png", FILES["a/00.png"])
    paths, _, rejected = read(source_of(tmp_path, "x.zip"))
    assert (paths, list(rejected)) == (["fine.png"], ["link.png"])
    assert rejected["link.png"].startswith("is a link, which is not followed in an archive")


# --- as a whole -------------------------------------------------------------------------------------------------------


GOOD = tar_bytes({"1.png": FILES["a/00.png"], "2.png": FILES["a/01.png"]})
SECOND = GOOD.index(b"2.png")
PAX = raw_header("pax", b"%011o\0" % (2**17), tarfile.XHDTYPE)
NUMBER = b"9" * 200


WHOLE = {
    "empty": (b"", "must be a complete tar or ZIP archive, but empty file"),
    "words": (b"only words", "must be a complete tar or ZIP archive, but truncated header"),
    "more words": (b"only words" * 100, "must be a complete tar or ZIP archive, but invalid header"),
    "cut in a file": (GOOD[:700], "must be a complete tar or ZIP archive, but unexpected end of data"),
    "cut between files": (
        GOOD[:SECOND],
        "must be a complete tar or ZIP archive, but it ends without the mark of its end",
    ),
    "followed by other bytes": (GOOD[:SECOND] + b"x" * 1024, "it ends without the mark of its end"),
    "cut in a header": (GOOD[: SECOND + 100], "it ends without the mark of its end"),
    "cut gzip": (gzip.compress(GOOD)[:-4], "must be a complete tar or ZIP archive, but Compressed file ended before"),
    "wrong checksum": (
        gzip.compress(GOOD)[:-6] + bytes(6),
        "must be a complete tar or ZIP archive, but CRC check failed",
    ),
    "cut zip": (
        archive_bytes(".zip", FILES)[:-30],
        "must be a complete tar or ZIP archive, but File is not a zip file",
    ),
    "joined": (GOOD + GOOD, "but more follows the mark of its end, as where archives were joined; write it again"),
    "joined and packed": (gzip.compress(GOOD) * 2, "but more follows the mark of its end"),
    "a stray block of zeros": (GOOD[:SECOND] + bytes(512) + GOOD[SECOND:], "but more follows the mark of its end"),
    "rubbish behind": (GOOD + b"x" * 1400, "but more follows the mark of its end"),
    "joined zips": (
        archive_bytes(".zip", FILES) * 2,
        "must be a complete tar or ZIP archive, but its list of files is of another archive, as where archives were "
        "joined or cut; write it again",
    ),
    "joined with an empty zip": (archive_bytes(".zip", FILES) + zip_bytes({}), "its list of files is of another"),
    "cut zip of a zip": (
        zip_bytes({**FILES, "backup.zip": zip_bytes(FILES)}, zipfile.ZIP_STORED)[:-40],
        "but its list of files is of another archive",
    ),
    "zip joined with a cut one": (
        archive_bytes(".zip", FILES) + archive_bytes(".zip", FILES)[:300],
        "must be a complete tar or ZIP archive, but more follows its list of files, as where archives were joined",
    ),
    "endless image": (raw_header("x.png", b"\x80" + b"\x7f" * 11) + END, "unexpected end of data"),
    "endless text": (raw_header("x.txt", b"\x80" + b"\x7f" * 11) + END, "unexpected end of data"),
    "negative size": (raw_header("x.png", b"\xff" * 10 + b"\xfe\x00") + END, "but a header has a negative size"),
    "negative header": (
        raw_header("x", b"\xff" * 10 + b"\xfe\x00", tarfile.XHDTYPE) + END,
        "but a header has a negative size",
    ),
    "pax": (PAX + bytes(2**17) + END, "must have at most 65536 bytes of names and attributes before a file"),
    "number": (
        raw_header("pax", b"%011o\0" % 512, tarfile.XHDTYPE) + NUMBER.ljust(512) + GOOD,
        "a number of a hundred digits",
    ),
    "unknown kind": (
        gzip.compress(raw_header("x", b"%011o\0" % 1024, b"x") * 500),
        "of names and attributes before a file",
    ),
}


@pytest.mark.parametrize(("content", "message"), WHOLE.values(), ids=WHOLE)
def test_archives_that_are_none_are_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(source_of(tmp_path))
    text = str(caught.value)
    assert text.startswith(str(tmp_path / "x.tar"))
    assert message in text
    assert "\n" not in text


def test_what_programs_put_behind_an_archive_is_no_fault(tmp_path: Path) -> None:
    """Tar programs fill up the last of their blocks; ZIP has comments, and some stores of files fill them up, too."""
    (tmp_path / "x.tar").write_bytes(GOOD + bytes(20 * 512))
    assert read(source_of(tmp_path))[0] == ["1.png", "2.png"]
    (tmp_path / "x.tgz").write_bytes(gzip.compress(GOOD[:1000]) + gzip.compress(GOOD[1000:]))
    assert read(source_of(tmp_path, "x.tgz"))[0] == ["1.png", "2.png"], "pieces may be packed one by one"
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.mkdir("a")
        archive.writestr("a/1.png", FILES["a/00.png"])
        archive.comment = b"made by hand"
    with (tmp_path / "x.zip").open("ab") as file:
        file.write(bytes(100))
    assert read(source_of(tmp_path, "x.zip"))[0] == ["a/1.png"]
    (tmp_path / "none.zip").write_bytes(zip_bytes({}))
    assert source_of(tmp_path, "none.zip").n_images() == 0


def test_what_an_archive_may_ask_for_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.datasets.files.bounds._UNPACKED_BYTES", 2**20)
    monkeypatch.setattr("pipeline.datasets.files.bounds._UNPACKED_TIMES", 100)
    monkeypatch.setattr("pipeline.datasets.files.bounds._MOST_IMAGES", 1000)
    bomb = tar_bytes({"x.txt": bytes(2**23)})
    (tmp_path / "bomb.tgz").write_bytes(gzip.compress(bomb))
    with pytest.raises(DataError, match=r"bomb.tgz must unpack to at most 1048576 bytes from a file of"):
        source_of(tmp_path, "bomb.tgz").n_images()
    (tmp_path / "bomb.zip").write_bytes(zip_bytes({"x.png": bytes(2**23)}))
    with pytest.raises(DataError, match=r"bomb.zip must unpack to at most 1048576 bytes from a file of"):
        read(source_of(tmp_path, "bomb.zip"))
    (tmp_path / "many.tgz").write_bytes(gzip.compress(raw_header("1.txt", b"%011o\0" % 0) * 1500))
    with pytest.raises(DataError, match=r"many.tgz must hold at most 1000 images in its \d+ bytes, got 1001"):
        source_of(tmp_path, "many.tgz").n_images()


def test_a_long_file_is_set_aside_unread(tmp_path: Path) -> None:
    with (tmp_path / "x.tar").open("wb") as file:
        file.write(raw_header("long.png", b"%011o\0" % (2**32)))
        file.seek(2**32, 1)
        file.write(GOOD)
    paths, _, rejected = read(source_of(tmp_path))
    assert paths == ["1.png", "2.png"]
    assert rejected["long.png"].startswith("has 4294967296 bytes, more than the 416777216 that an image")


def test_the_list_of_a_zip_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_members, "_DIRECTORY_BYTES", 900)
    write_archive(tmp_path / "x.zip", FILES)
    with pytest.raises(DataError, match=r"x.zip must have a list of files of at most 900 bytes, got \d+; split it"):
        read(source_of(tmp_path, "x.zip"))


def test_a_zip_whose_files_lie_nowhere_is_refused_one_by_one(tmp_path: Path) -> None:
    data = bytearray(zip_bytes({"x.png": b"x" * 100, "y.png": FILES["a/00.png"]}))
    place = data.index(b"PK\1\2")
    data[place + 42 : place + 46] = struct.pack("<I", 2**32 - 2)
    (tmp_path / "x.zip").write_bytes(data)
    paths, _, rejected = read(source_of(tmp_path, "x.zip"))
    assert paths == ["y.png"]
    assert rejected["x.png"].startswith("is damaged in its archive (")


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        ("y.tar", {}, r"y.tar is missing; put the file there or correct the path"),
        ("none", {}, r"none must hold files that end in .tar or .tar.gz or .tgz, got none; correct the path"),
        ("x-{3..1}.tar", {}, r"must stand for 1 to 100000 files, got 0; write it as x-\{0000..0099\}.tar"),
        ("x-{0..999999999}.tar", {}, r"must stand for 1 to 100000 files, got 1000000000"),
        ("x-{0..1}.tar", {}, r"x-0.tar is missing"),
        (
            "x.tar",
            {"labels": "inside"},
            r"must hold .cls or .json files beside the images for labels: inside, got none",
        ),
    ],
)
def test_rules(tmp_path: Path, path: str, changes: dict[str, Any], message: str) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "x.tar").write_bytes(GOOD)
    with pytest.raises(DataError, match=message):
        read(source_of(tmp_path, path, **changes))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(st.data())
def test_fuzzed_archives_give_an_error_or_images(tmp_path: Path, data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from(SUFFIXES))
    files = {"1.png": FILES["a/00.png"], "2.png": FILES["a/01.png"], "2.cls": b"7", "n" * 120 + ".png": b""}
    damaged = bytearray(archive_bytes(suffix, files))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"x{suffix}"
    path.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    message = str(tmp_path)
    try:
        read(source_of(tmp_path, path.name, labels="inside", max_pixels=10_000, size=(2, 2)))
    except DataError as error:
        message = str(error)
    assert message.startswith(str(tmp_path))


def test_files_that_were_passed_are_forgotten(tmp_path: Path) -> None:
    """Of each, tarfile alone would keep a kilobyte, and of a global header what it says."""
    said = (tarfile.TarInfo.create_pax_global_header({f"comment.{number}": "x" * 600}) for number in range(2000))
    (tmp_path / "x.tar").write_bytes(b"".join(header + raw_header("1.txt", b"%011o\0" % 0) for header in said) + END)
    tracemalloc.start()
    try:
        assert sum(1 for _ in archive_members.archive_members(str(tmp_path / "x.tar"))) == 2000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20
