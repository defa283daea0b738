"""Deliveries are taken when they are complete, once, and never while somebody still writes."""

import os
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config.sources import FILE_SUFFIXES, suffix_of
from pipeline.core.errors import DataError, ResourceError
from pipeline.core.layout import Layout
from pipeline.operations.deliveries import finish_delivery, note_trouble, require_delivery, troubles
from pipeline.operations.inbox import InboxWatch
from pipeline.operations.rejected import rejected_deliveries


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path, "digits")
    layout.inbox.mkdir(parents=True)
    return layout


def deliver(layout: Layout, *names: str) -> None:
    for name in names:
        path = layout.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_a_delivery_is_complete_once_nothing_has_changed_for_long_enough(layout: Layout) -> None:
    watch = InboxWatch(layout, 5.0)
    deliver(layout, "a/1.png")
    assert watch.complete(100.0) == []
    assert watch.complete(104.9) == []
    deliver(layout, "a/2.png")
    assert watch.complete(105.0) == []
    assert watch.complete(109.0) == []
    assert watch.complete(110.0) == [layout.inbox / "a"]


def test_every_file_of_a_source_is_a_delivery_and_others_come_together(layout: Layout) -> None:
    names = [f"x{suffix}" for suffix in FILE_SUFFIXES] + ["y.TAR.GZ"]
    deliver(layout, *names, "1.png", "2.png", "note.gz")
    watch = InboxWatch(layout, 5.0)
    assert watch.complete(0.0) == []
    together, *files = sorted(watch.complete(5.0), key=lambda path: not path.is_dir())
    assert sorted(path.name for path in files) == sorted(names)
    assert sorted(path.name for path in together.iterdir()) == [".complete", "1.png", "2.png", "note.gz"]


def test_a_file_rewritten_with_an_old_time_still_counts_as_changed(layout: Layout) -> None:
    watch = InboxWatch(layout, 5.0)
    deliver(layout, "a/1.png")
    os.utime(layout.inbox / "a" / "1.png", (1000, 1000))
    assert watch.complete(0.0) == []
    (layout.inbox / "a" / "1.png").write_bytes(b"y")
    os.utime(layout.inbox / "a" / "1.png", (1000, 1000))
    assert watch.complete(6.0) == []
    assert watch.complete(11.0) == [layout.inbox / "a"]


def test_a_marker_completes_at_once(layout: Layout) -> None:
    watch = InboxWatch(layout, 5.0)
    deliver(layout, "a/1.png", "b.npy")
    assert watch.complete(0.0) == []
    deliver(layout, "a/.complete", "b.npy.complete")
    assert watch.complete(0.1) == [layout.inbox / "a", layout.inbox / "b.npy"]


@pytest.mark.parametrize("kind", ["folder", "full folder", "link", "loop", "pipe"])
@pytest.mark.parametrize("beside", [False, True])
def test_what_is_named_as_a_marker_but_no_file_is_rejected_and_completes_nothing(
    layout: Layout, kind: str, beside: bool
) -> None:
    stray = layout.inbox / "x.npy.complete"
    match kind:
        case "folder":
            stray.mkdir()
        case "full folder":
            deliver(layout, "x.npy.complete/1.png", "x.npy.complete/.complete")
        case "link" | "loop":
            stray.symlink_to("/dev/null" if kind == "link" else stray.name)
        case _:
            os.mkfifo(stray)
    if beside:
        deliver(layout, "x.npy")
    watch = InboxWatch(layout, 5.0)
    assert watch.complete(0.0) == []
    assert watch.complete(5.0) == [layout.inbox / "x.npy"] * beside
    assert not os.path.lexists(stray)
    (reason,) = (layout.inbox / "rejected").glob("*-x.npy.complete.reason.txt")
    assert reason.read_text().startswith("x.npy.complete is ")
    assert watch.complete(6.0) == [layout.inbox / "x.npy"] * beside


def test_a_marker_is_rejected_only_when_its_delivery_stays_away_for_an_hour(layout: Layout) -> None:
    deliver(layout, "late.npy.complete", "never.npy.complete")
    watch = InboxWatch(layout, 5.0)
    assert watch.complete(0.0) == watch.complete(3000.0) == []
    deliver(layout, "late.npy")
    assert watch.complete(3001.0) == watch.complete(9000.0) == [layout.inbox / "late.npy"]
    (reason,) = (layout.inbox / "rejected").glob("*.reason.txt")
    assert reason.read_text() == "never.npy.complete marks as complete what is not there; deliver that\n"
    (layout.inbox / "late.npy").unlink()
    assert watch.complete(9001.0) == watch.complete(9010.0) == []
    assert [path.name for path in layout.inbox.iterdir() if path.is_file()] == ["late.npy.complete"]


def test_the_marker_of_a_folder_or_of_a_loose_file_goes_with_it(layout: Layout) -> None:
    deliver(layout, "a/1.png", "a.complete", "1.png", "1.png.complete", "2.png")
    watch = InboxWatch(layout, 5.0)
    a, files = watch.complete(0.0)
    assert sorted(path.name for path in files.iterdir()) == [".complete", "1.png"]
    finish_delivery(layout, a)
    assert sorted(path.name for path in layout.inbox.iterdir()) == ["2.png", "done", files.name]


@pytest.mark.parametrize("name", ["a/1.png.part", "a/1.crdownload", "a.npy.tmp", ".hidden/1.png", "done/x/1.png"])
def test_unfinished_hidden_and_finished_ones_are_not_touched(layout: Layout, name: str) -> None:
    deliver(layout, name)
    if name.startswith("a/"):
        deliver(layout, "a/2.png")
    watch = InboxWatch(layout, 5.0)
    assert watch.complete(0.0) == watch.complete(60.0) == []


def test_an_empty_folder_waits_for_its_files(layout: Layout) -> None:
    (layout.inbox / "a").mkdir()
    watch = InboxWatch(layout, 5.0)
    assert watch.complete(0.0) == watch.complete(60.0) == []


def test_loose_files_become_one_delivery(layout: Layout) -> None:
    watch = InboxWatch(layout, 5.0)
    deliver(layout, "1.png", "2.jpg")
    assert watch.complete(0.0) == []
    (folder,) = watch.complete(5.0)
    assert sorted(path.name for path in folder.iterdir()) == [".complete", "1.png", "2.jpg"]
    assert watch.complete(5.1) == [folder]


def test_done_and_rejected_deliveries_leave_with_their_reasons(layout: Layout) -> None:
    deliver(layout, "a/1.png", "b.npy", "b.npy.complete")
    done = finish_delivery(layout, require_delivery(layout, "a"))
    assert (done.parent, done.name.split("-")[1]) == (layout.inbox / "done", "a")
    bad = finish_delivery(layout, require_delivery(layout, "b.npy"), ["b.npy: is empty", "and more"])
    assert bad.parent == layout.inbox / "rejected"
    assert bad.with_name(bad.name + ".reason.txt").read_text() == "b.npy: is empty\nand more\n"
    assert sorted(path.name for path in layout.inbox.iterdir()) == ["done", "rejected"]


def test_rejected_deliveries_are_told_with_their_reasons_newest_first(layout: Layout) -> None:
    assert rejected_deliveries(layout) == []
    for name, reasons in (("a.npy", ["a.npy: is empty", "and more"]), ("b\x1b[31m.npy", ["is of another\x07 kind"])):
        deliver(layout, name)
        finish_delivery(layout, layout.inbox / name, reasons)
    newest, oldest = rejected_deliveries(layout)
    assert (oldest.name.split("-", 1)[1], oldest.reason) == ("a.npy", "a.npy: is empty")
    assert newest.name.endswith("b\\x1b[31m.npy")
    assert newest.reason == "is of another\\x07 kind"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../x", "must lie directly in"),
        ("/srv/precious", "must lie directly in"),
        ("a/../../../batches/digits", "must lie directly in"),
        ("", "must lie directly in"),
        ("..", "must lie directly in"),
        ("done", "must lie directly in"),
        (".hidden", "must lie directly in"),
        ("a.npy.complete", "must lie directly in"),
        ("a.npy.part", "must lie directly in"),
        ("gone", "is missing"),
        ("n" * 300, "cannot be looked at .File name too long."),
        ("link", "is a link"),
        ("loop", "is a link"),
        ("pipe.npy", "is neither a folder nor a file"),
    ],
)
def test_only_what_lies_in_the_inbox_is_a_delivery(layout: Layout, name: str, message: str) -> None:
    (layout.inbox / "link").symlink_to(layout.root)
    (layout.inbox / "loop").symlink_to("loop")
    os.mkfifo(layout.inbox / "pipe.npy")
    with pytest.raises(DataError, match=message):
        require_delivery(layout, name)


@pytest.mark.parametrize("path", ["data/batches/digits", "data/inbox/digits/done", "data/inbox/digits/a/b", "precious"])
def test_nothing_else_is_ever_moved(layout: Layout, path: str) -> None:
    foreign = layout.root / path
    foreign.mkdir(parents=True)
    for reasons in ([], ["is no delivery"]):
        with pytest.raises(DataError, match="only what lies directly in"):
            finish_delivery(layout, foreign, reasons)
    assert foreign.is_dir()
    assert not (layout.inbox / "rejected").exists()


# --- poison -----------------------------------------------------------------------------------------------------------


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path may have 108 bytes
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


SPECIAL: dict[str, tuple[Callable[[Path], None], str]] = {
    "dangling": (lambda path: path.symlink_to("nowhere"), "is a link; copy the delivery itself into the inbox"),
    "loop": (lambda path: path.symlink_to(path.name), "is a link"),
    "outside": (lambda path: path.symlink_to("/etc"), "is a link"),
    "pipe.npy": (os.mkfifo, "is neither a folder nor a file; remove it"),
    "socket.png": (bind, "is neither a folder nor a file; remove it"),
}


@pytest.mark.parametrize("name", list(SPECIAL))
def test_what_can_be_no_delivery_is_rejected_and_never_asked_for(layout: Layout, name: str) -> None:
    make, reason = SPECIAL[name]
    watch = InboxWatch(layout, 5.0)
    make(layout.inbox / name)
    deliver(layout, "good/1.png", "good/.complete")
    assert watch.complete(0.0) == [layout.inbox / "good"]
    assert watch.complete(5.0) == [layout.inbox / "good"]
    (moved,) = (path for path in (layout.inbox / "rejected").iterdir() if not path.name.endswith(".reason.txt"))
    assert moved.name.endswith(f"-{name}")
    assert reason in moved.with_name(f"{moved.name}.reason.txt").read_text()
    assert watch.complete(6.0) == [layout.inbox / "good"]
    assert troubles(layout) == []


NAMES = {
    "no UTF-8": (os.fsdecode(b"caf\xe9.npy"), "caf\\xe9.npy"),
    "escape codes": ("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"),
    "line ends": ("a\nfacets: all is well", "a\\nfacets: all is well"),
    "direction": ("a\u202egnp.npy", "a\\u202egnp.npy"),
    "240 letters": ("n" * 240, "n" * 240),
    "255 bytes": ("ü" * 127 + "x", "ü" * 127 + "x"),
    "255 bytes that are no UTF-8": (os.fsdecode(b"\xff" * 251 + b".npy"), None),
    "two endings": (os.fsdecode(b"\xff" * 248 + b".tar.gz"), None),
}


@pytest.mark.parametrize("kind", list(NAMES))
@pytest.mark.parametrize("reasons", [[], ["is useless"]])
def test_whatever_the_name_a_delivery_comes_in_and_leaves_under_one_that_fits(
    layout: Layout, kind: str, reasons: list[str]
) -> None:
    name, plain = NAMES[kind]
    path = layout.inbox / name
    if suffix_of(name):
        path.write_bytes(b"x")
    else:
        deliver(layout, f"{name}/1.png")
    watch = InboxWatch(layout, 5.0)
    assert watch.complete(0.0) == []
    (ready,) = watch.complete(5.0)
    assert watch.complete(5.1) == [ready]
    assert plain is None or ready.name == plain
    assert ready.name.isprintable()
    assert suffix_of(ready.name) == suffix_of(name), "which tells its reader"
    assert require_delivery(layout, ready.name) == ready
    target = finish_delivery(layout, ready, reasons)
    names = [os.fsencode(path.name) for path in target.parent.iterdir()]
    assert len(names) == 1 + len(reasons)
    assert max(map(len, names)) <= 255
    assert all(reason + ".reason.txt" in map(os.fsdecode, names) for reason in [target.name] * len(reasons))
    assert watch.complete(6.0) == []


def test_a_name_made_plain_takes_its_marker_along_and_the_place_of_no_other(layout: Layout) -> None:
    deliver(layout, "a\x1b.npy", "a\x1b.npy.complete", "a\\x1b.npy", "a\\x1b.npy.complete")
    watch = InboxWatch(layout, 5.0)
    ready = watch.complete(0.0)
    assert len(set(ready)) == 2
    assert all(path.is_file() and path.name.isprintable() and path.suffix == ".npy" for path in ready)
    for path in ready:
        finish_delivery(layout, path)
    assert [path.name for path in layout.inbox.iterdir()] == ["done"]


@pytest.mark.parametrize("number", [13, 5, 36])
def test_a_folder_that_cannot_be_read_is_handed_on_and_keeps_no_other_waiting(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    scan = os.scandir

    def fail(path: Path) -> object:
        if Path(path).name == "locked":
            raise OSError(number, os.strerror(number))
        return scan(path)

    monkeypatch.setattr(os, "scandir", fail)
    deliver(layout, "locked/1.png", "good/1.png", "half/1.png", "half/locked/2.png")
    watch = InboxWatch(layout, 5.0)
    assert watch.complete(0.0) == []
    assert [path.name for path in watch.complete(5.0)] == ["good", "half", "locked"]


def test_what_goes_while_it_is_looked_at_is_no_fault(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(layout, "a/1.png", "b/1.png", "c.npy", "d.png")
    look = Path.lstat

    def vanish(path: Path) -> os.stat_result:
        if path.name in ("a", "c.npy", "d.png") or path.parent.name == "b":
            raise FileNotFoundError(2, "No such file or directory")
        return look(path)

    watch = InboxWatch(layout, 5.0)
    monkeypatch.setattr(Path, "lstat", vanish)
    assert watch.complete(0.0) == watch.complete(9.0) == []
    monkeypatch.undo()
    subprocess.run(["rm", "-r", layout.inbox], check=True)
    assert watch.complete(10.0) == []


def test_a_folder_deeper_than_python_recurses_is_a_delivery(layout: Layout) -> None:
    deliver(layout, "deep/1.png")
    here = os.open(layout.inbox / "deep", os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=here)
        here, above = os.open("d", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)
    try:
        watch = InboxWatch(layout, 5.0)
        assert watch.complete(0.0) == []
        assert watch.complete(5.0) == [layout.inbox / "deep"]
    finally:
        subprocess.run(["rm", "-r", layout.inbox / "deep"], check=True)  # shutil would recurse


def test_a_loose_file_that_never_rests_keeps_the_others_waiting_for_a_while_only(layout: Layout) -> None:
    watch = InboxWatch(layout, 5.0)
    deliver(layout, "1.png", "2.png")
    found: list[Path] = []
    seconds = 0
    while not found:
        (layout.inbox / "endless.log").write_text("x" * seconds)
        found = watch.complete(float(seconds))
        seconds += 1
    assert seconds <= 40
    assert sorted(path.name for path in found[0].iterdir()) == [".complete", "1.png", "2.png"]
    assert (layout.inbox / "endless.log").exists()


def test_what_cannot_be_moved_stays_with_a_note_and_keeps_no_other_waiting(layout: Layout) -> None:
    deliver(layout, "rejected", "good/1.png")  # a file where a folder is needed
    (layout.inbox / "loop").symlink_to("loop")
    watch = InboxWatch(layout, 5.0)
    watch.complete(0.0)
    assert watch.complete(5.0) == [layout.inbox / "good"]
    (trouble,) = troubles(layout)
    assert (trouble.name, trouble.tries, trouble.crashes) == ("loop", 1, 0)
    assert "must be movable to" in trouble.reason
    with pytest.raises(ResourceError, match="must be movable to"):
        finish_delivery(layout, layout.inbox / "good", ["is useless"])
    (layout.inbox / "rejected").unlink()
    watch.complete(10.0)
    assert troubles(layout) == []
    assert stat.S_ISLNK(next((layout.inbox / "rejected").glob("*-loop")).lstat().st_mode)


def test_notes_go_by_the_delivery_not_by_its_name(layout: Layout) -> None:
    deliver(layout, "a/1.png", "b/1.png")
    for number in (1, 2):
        assert note_trouble(layout, layout.inbox / "a", "killed", crashed=True).crashes == number
    assert note_trouble(layout, layout.inbox / "b", "the disk is full").crashes == 0
    assert note_trouble(layout, layout.inbox / "a", "busy").tries == 3
    assert [(t.name, t.tries, t.crashes, t.reason) for t in troubles(layout)] == [
        ("a", 3, 2, "busy"),
        ("b", 1, 0, "the disk is full"),
    ]
    (note,) = (layout.root / ".work" / "digits" / "inbox").glob(f"*-{(layout.inbox / 'a').stat().st_ino:x}.json")
    note.write_text("{")
    assert note_trouble(layout, layout.inbox / "a", "again").tries == 1
    finish_delivery(layout, layout.inbox / "b")
    deliver(layout, "b/1.png")
    assert [trouble.name for trouble in troubles(layout)] == ["a"]
