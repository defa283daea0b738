"""Nothing leads out of a folder, whatever is exchanged while it is read; and every entry's fault is its own."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import DataError
from pipeline.core.layout import Layout
from pipeline.datasets.decoding.pool import decode_files
from pipeline.datasets.decoding.worker import DecodeJob
from pipeline.datasets.delivery.delivery import open_delivery
from pipeline.datasets.files.beneath import Beneath, Root
from pipeline.datasets.prepare.manifest import FileHashes
from pipeline.datasets.readers.base import open_source
from pipeline.datasets.readers.listing import Listing, list_folder
from pipeline.onboarding.propose import propose_experiment
from tests.datasets.archives import write_archive
from tests.datasets.builders import preprocess
from tests.datasets.pictures import encode, picture


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "a" / "b").mkdir(parents=True)
    for number, name in enumerate(("a/b/1.png", "a/2.png", "3.png")):
        (folder / name).write_bytes(encode(picture(number)))
    return folder


def read(listing: Listing) -> dict[str, str | None]:
    """Decode what was listed; return the reason of each, None where it was read."""
    job = DecodeJob(listing.root, 1000, None, pixel_bytes=None, with_encoded=False)
    return {file.name: file.reason for some in decode_files(job, listing.items(), 1) for file in some}


def secret(tmp_path: Path) -> Path:
    """Return a folder outside with a picture of every name that is listed inside."""
    outside = tmp_path / "outside"
    (outside / "b").mkdir(parents=True)
    for name in ("b/1.png", "2.png", "1.png", "3.png"):
        (outside / name).write_bytes(encode(picture(99)))
    return outside


@pytest.mark.parametrize("exchanged", ["a", "a/b"])
def test_a_folder_exchanged_for_a_link_after_listing_lets_nothing_outside_be_read(
    data: Path, tmp_path: Path, exchanged: str
) -> None:
    listing, outside = list_folder(str(data)), secret(tmp_path)
    (data / exchanged).rename(data / ".away")
    (data / exchanged).symlink_to(outside)
    reasons = read(listing)
    assert reasons.pop("3.png") is None
    inside = {name for name in reasons if not name.startswith(f"{exchanged}/")}
    assert {name for name, reason in reasons.items() if reason is None} == inside
    assert all("leads out of the folder" in reasons[name] for name in reasons.keys() - inside)


def test_the_folder_itself_exchanged_after_listing_is_noticed(data: Path, tmp_path: Path) -> None:
    listing, outside = list_folder(str(data)), secret(tmp_path)
    data.rename(tmp_path / "away")
    data.symlink_to(outside)
    assert {reason.split(";")[0] for reason in read(listing).values() if reason} == {
        "lies in a folder that was exchanged while it was read"
    }
    data.unlink()
    assert all("vanished while it was read" in (reason or "") for reason in read(listing).values())


def test_a_folder_exchanged_while_it_is_listed_is_not_entered(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_one, outside = Beneath._list, secret(tmp_path)

    def list_then_exchange(folder: Beneath, below: str, above: tuple[tuple[int, int], ...]) -> Any:
        listed = list_one(folder, below, above)
        if below == "a/":
            (data / "a" / "b").rename(data / "a" / ".away")
            (data / "a" / "b").symlink_to(outside)
        return listed

    monkeypatch.setattr(Beneath, "_list", list_then_exchange)
    listing = list_folder(str(data))
    assert listing.names == ["3.png", "a/2.png"]
    assert listing.rejected == [("a/b", "was exchanged for a link while it was read; deliver it again")]


def test_entries_that_the_system_refuses_are_set_aside_alone(data: Path) -> None:
    (data / "loop.png").symlink_to("loop.png")
    (data / "ring").symlink_to("gnir")
    (data / "gnir").symlink_to("ring")
    (data / "far.png").symlink_to("x" * 255 + "/y")
    (data / "album.png").symlink_to("a/")
    (data / "through_a_file.png").symlink_to("3.png/x")
    listing = list_folder(str(data))
    assert listing.rejected == [("album.png", "is a link to a folder, which is not followed; copy the folder instead")]
    reasons = read(listing)
    assert [name for name, reason in reasons.items() if reason is None] == ["3.png", "a/2.png", "a/b/1.png"]
    for name in ("loop.png", "ring", "gnir"):
        assert reasons[name] == "is a link that leads round in a circle; copy the file instead"
    assert reasons["far.png"] == "leads nowhere or vanished while it was read; deliver it again"
    assert "cannot be read (Not a directory)" in (reasons["through_a_file.png"] or "")


@pytest.mark.parametrize("number", [13, 5])
def test_an_entry_that_cannot_even_be_looked_at_is_set_aside(
    data: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (data / "2.png").symlink_to("3.png")
    look = os.stat

    def fail(path: object, **options: object) -> os.stat_result:
        if path == "2.png":
            raise OSError(number, os.strerror(number))
        return look(path, **options)  # pyright: ignore

    monkeypatch.setattr(os, "stat", fail)
    assert read(list_folder(str(data)))["2.png"] == (
        f"cannot be read ({os.strerror(number)}); mend its permissions or deliver it again"
    )


def test_scan_and_a_proposal_pass_over_what_cannot_be_read(data: Path, tmp_path: Path) -> None:
    for number in range(20):
        (data / f"more-{number}.png").write_bytes(encode(picture(number + 10)))
    (data / "cut.nii.gz").write_bytes(b"\x1f\x8b\x08 cut")
    before = FileHashes(tmp_path / "list").folder(str(data), with_parents=True)
    (data / "loop.png").symlink_to("loop.png")
    os.mkfifo(data / "pipe.png")
    (data / os.fsdecode(b"caf\xe9")).mkdir()
    hashes = FileHashes(tmp_path / "list")
    assert hashes.folder(str(data), with_parents=True) == before
    assert {name for name, _ in hashes.refused} == {"loop.png", "pipe.png"}
    (data / os.fsdecode(b"caf\xe9/\xe8.png")).write_bytes(encode(picture(50)))
    assert hashes.folder(str(data), with_parents=True)["count"] == before["count"] + 1
    hashes.save()
    layout = Layout(tmp_path, "mine")
    notes = propose_experiment(layout, str(data)).notes
    assert any("leads round in a circle" in note for note in notes)
    alone = tmp_path / "alone"
    alone.symlink_to("alone")
    with pytest.raises(DataError, match=r"alone cannot be read \(Too many levels of symbolic links\)"):
        propose_experiment(layout, str(alone))


def test_folders_without_end_are_left(data: Path) -> None:
    here = os.open(data, os.O_RDONLY)
    for _ in range(150):
        os.mkdir("d", dir_fd=here)
        here, above = os.open("d", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)
    listing = list_folder(str(data))
    assert listing.names == ["3.png", "a/2.png", "a/b/1.png"]
    ((name, reason),) = listing.rejected
    assert (name.count("/"), reason) == (100, "lies more than 100 folders deep; move it up")


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path may have 108 bytes
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


@pytest.mark.parametrize("prefix", ["", "file://", "local://", "file://localhost"])
@pytest.mark.parametrize("make", [os.mkfifo, bind])
def test_pipes_and_sockets_are_never_opened(
    data: Path, monkeypatch: pytest.MonkeyPatch, prefix: str, make: Callable[[Path], None]
) -> None:
    make(data / "special.png")
    (data / "by_link.png").symlink_to("special.png")
    opened: list[object] = []
    open_it = os.open

    def note(path: object, *arguments: int, **options: int) -> int:
        descriptor = open_it(path, *arguments, **options)  # pyright: ignore
        opened.append(stat.S_IFMT(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr(os, "open", note)
    layout = Layout(data.parent, "mine")
    blocks = list(open_delivery(layout, preprocess(), f"{prefix}{data}", 1).blocks)
    reasons = dict(rejection for block in blocks for rejection in block.rejected)
    what = "a FIFO" if make is os.mkfifo else "a socket"
    assert reasons["special.png"] == reasons["by_link.png"] == f"is {what}, no file; remove it"
    assert [path for block in blocks for path in block.paths] == ["3.png", "a/2.png", "a/b/1.png"]
    (data / "special.png").rename(data / "special.npy")
    with pytest.raises(DataError, match=r"must be a folder of images or end in"):
        open_delivery(layout, preprocess(), f"{prefix}{data}/special.npy", 1)
    assert set(opened) == {stat.S_IFREG, stat.S_IFDIR}


def test_every_descriptor_is_closed(data: Path) -> None:
    (data / "loop.png").symlink_to("loop.png")
    (data / "out.png").symlink_to("/etc/passwd")
    (data / "in.png").symlink_to(data / "a" / "b" / ".." / "2.png")
    before = len(list(Path("/dev/fd").iterdir()))
    read(list_folder(str(data)))
    with Beneath(Root(str(data))) as folder:
        os.close(folder.open("in.png"))
        for name in ("a/missing", "missing/1.png", "3.png/x"):
            with pytest.raises(OSError, match=r"No such file|Not a directory"):
                folder.open(name)
    with pytest.raises(DataError, match="was exchanged"):
        Beneath(Root(str(data), (0, 0)))
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_links_are_followed_where_somebody_asks_for_it_and_not_in_the_inbox(data: Path, tmp_path: Path) -> None:
    outside = secret(tmp_path)
    (data / "folder").symlink_to(outside)
    (data / "file.png").symlink_to(outside / "2.png")
    (outside / "back").symlink_to(data / "a")
    (data / "a" / "up").symlink_to("..")
    (data / "none.png").symlink_to("nowhere")
    (data / "null.png").symlink_to("/dev/null")
    asked = list_folder(str(data), links=True)
    assert dict(asked.rejected) == dict.fromkeys(
        ("a/up", "folder/back/up"), "is a link that leads round in a circle; remove it"
    )
    reasons = read(asked)
    assert {name for name, reason in reasons.items() if reason is None} == {
        *("3.png", "a/2.png", "a/b/1.png", "file.png"),
        *(f"folder/{name}" for name in ("1.png", "2.png", "3.png", "b/1.png", "back/2.png", "back/b/1.png")),
    }
    assert reasons["null.png"] == "is a device, no file; remove it"
    layout = Layout(tmp_path / "repository", "digits")
    hashes = FileHashes(tmp_path / "list")
    source = open_source(preprocess(source="folder", path=str(data), follow_links=True), layout)
    assert source.fingerprint(hashes)["count"] == 10
    plain = open_source(preprocess(source="folder", path=str(data)), layout)
    refused = dict(entry for block in plain.blocks() for entry in block.rejected)
    for name, what in (("folder", "folder"), ("file.png", "file")):
        assert refused[name].endswith(f"; copy the {what} instead, or set preprocess.follow_links")
    delivery = layout.inbox / "delivery"
    layout.inbox.mkdir(parents=True)
    data.rename(delivery)
    of_folder = preprocess(source="folder", path=str(delivery), follow_links=True)
    delivered = open_delivery(layout, of_folder, str(delivery), 1)
    refused = dict(entry for block in delivered.blocks for entry in block.rejected)
    assert refused["folder"] == "is a link to a folder, which is not followed; copy the folder instead"
    assert refused["file.png"] == "is a link that leads out of the folder; copy the file instead"
    np.save(tmp_path / "file.npy", picture(1))  # of no folder, so that nothing is to be followed
    assert open_delivery(layout, of_folder, str(tmp_path / "file.npy"), 1).n_images >= 1


def test_folders_that_link_to_each_other_come_to_an_end(tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(6)]
    for name in names:
        (tmp_path / name).mkdir()
        for other in names:
            (tmp_path / name / other).symlink_to(f"../{other}")
    listing = list_folder(str(tmp_path), links=True)
    assert {reason.split("; ")[0] for _, reason in listing.rejected} == {
        "is a link that leads round in a circle",
        "lies behind more than 4 links to folders",
    }


KINDS = ["npy", "parquet", "tar", "folder of parquet", "part that is a link"]


def linked_delivery(tmp_path: Path, kind: str) -> tuple[Layout, Path]:
    """Return a delivery in the inbox that is, or holds, a link to a file outside."""
    layout = Layout(tmp_path, "digits")
    layout.inbox.mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    pq.write_table(pa.table({"image": [encode(picture(1))]}), outside / "secret.parquet")
    np.save(outside / "secret.npy", np.zeros((2, 8, 8), np.uint8))
    write_archive(outside / "secret.tar", {"1.png": encode(picture(1))})
    match kind:
        case "npy" | "parquet" | "tar":  # as if it took the delivery's place after that was looked at
            delivery = layout.inbox / f"delivery.{kind}"
            delivery.symlink_to(outside / f"secret.{kind}")
        case "folder of parquet":
            (outside / "secret.npy").unlink()
            (outside / "secret.tar").unlink()
            delivery = layout.inbox / "delivery"
            delivery.symlink_to(outside)
        case _:
            delivery = layout.inbox / "delivery"
            delivery.mkdir()
            pq.write_table(pa.table({"image": [encode(picture(2))]}), delivery / "own.parquet")
            (delivery / "secret.parquet").symlink_to(outside / "secret.parquet")
    return layout, delivery


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spelling", ["inbox/digits", "raw/../inbox/digits", "mount"])
def test_a_link_in_the_place_of_a_file_that_holds_many_images_leads_nowhere(
    tmp_path: Path, kind: str, spelling: str
) -> None:
    layout, delivery = linked_delivery(tmp_path, kind)
    (tmp_path / "data" / "raw").mkdir()
    (tmp_path / "data" / "mount").symlink_to("inbox/digits")
    with pytest.raises(DataError, match="is a link that leads out of the folder"):
        list(open_delivery(layout, preprocess(), f"{tmp_path}/data/{spelling}/{delivery.name}", 1).blocks)


@pytest.mark.parametrize("kind", KINDS)
def test_neither_a_scan_nor_a_proposal_reads_by_such_a_link(tmp_path: Path, kind: str) -> None:
    layout, delivery = linked_delivery(tmp_path, kind)
    for path in (tmp_path / "outside").iterdir():
        path.write_bytes(b"nobody may know what it holds")
    own = preprocess(source=kind if kind in ("npy", "tar") else "parquet", path=str(delivery))
    with pytest.raises(DataError, match="is a link that leads out of the folder"):
        open_source(own, layout).fingerprint(FileHashes(tmp_path / "list"))
    if kind == "part that is a link":
        (delivery / "own.parquet").unlink()
    with pytest.raises(DataError, match="is a link that leads out of the folder"):
        propose_experiment(layout, str(delivery))


def test_a_proposal_takes_no_labels_by_a_link_out_of_the_folder(data: Path, tmp_path: Path) -> None:
    for number in range(20):
        (data / f"more-{number}.png").write_bytes(encode(picture(number + 10)))
    (tmp_path / "labels.csv").write_text("file,kind\n3.png,1\n")
    for target, is_taken in ((tmp_path / "labels.csv", False), (data / ".labels.csv", True)):
        (data / "labels.csv").unlink(missing_ok=True)
        (data / "labels.csv").symlink_to(target)
        (data / ".labels.csv").write_text("file,kind\n3.png,1\n")
        proposal = propose_experiment(Layout(tmp_path, "mine"), str(data))
        assert ("labels: labels.csv" in proposal.text) == is_taken


def test_a_file_that_somebody_names_may_be_a_link(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.zeros((2, 8, 8), np.uint8))
    (tmp_path / "link.npy").symlink_to("images.npy")
    assert open_delivery(Layout(tmp_path, "digits"), preprocess(), str(tmp_path / "link.npy"), 1).n_images == 2
