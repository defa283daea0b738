"""Deliveries are taken when they are complete, once, and never while somebody still writes."""

import os
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.layout import Layout
from pipeline.operations.inbox import InboxWatch, finish_delivery, require_delivery


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


@pytest.mark.parametrize(
    ("name", "message"),
    [("../x", "must lie directly in"), ("done", "must lie directly in"), ("gone", "is missing"), ("link", "is a link")],
)
def test_only_what_lies_in_the_inbox_is_a_delivery(layout: Layout, name: str, message: str) -> None:
    (layout.inbox / "link").symlink_to(layout.root)
    with pytest.raises(DataError, match=message):
        require_delivery(layout, name)
