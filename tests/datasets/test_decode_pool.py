import gc
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import DataError, ResourceError
from pipeline.datasets.decoding import pool as decode_pool
from pipeline.datasets.decoding import worker as decode_worker
from pipeline.datasets.decoding.decoded_file import DecodedFile
from pipeline.datasets.decoding.pool import decode_files
from pipeline.datasets.decoding.transform import ImageTransform
from pipeline.datasets.decoding.worker import DecodeJob, Item, decode_chunk, read_regular
from pipeline.datasets.files.beneath import Beneath, Root
from pipeline.datasets.store.identity import hash_images
from tests.datasets.builders import DecodeHere
from tests.datasets.pictures import bomb, encode, picture

JOB = DecodeJob(None, 1_000_000, None, pixel_bytes=None, with_encoded=False)


def items(n: int) -> list[Item]:
    return [(f"{i}.png", encode(picture(i, 5, 4))) for i in range(n)]


def running_workers() -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            ours = b"decoding.worker" in process.read_bytes()
            parent = int(process.with_name("stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if ours and parent == os.getpid():
            found.append(int(process.parent.name))
    return found


def test_many_files_come_back_in_order_and_as_in_this_process():
    some = items(300)
    found = [outcome for outcomes in decode_files(JOB, iter(some), workers=2) for outcome in outcomes]
    here = decode_chunk(JOB, some)
    assert [file.name for file in found] == [name for name, _ in some]
    pixels = [[file.pixels for file in files if file.pixels is not None] for files in (found, here)]
    assert np.array_equal(pixels[0], pixels[1])
    assert [file.hash for file in found] == [file.hash for file in here]
    assert found[7].hash == hash_images([picture(7, 5, 4).transpose(2, 0, 1)])[0]
    assert found[7].shape == (3, 5, 4)
    assert running_workers() == []


def test_few_files_need_no_process(monkeypatch):
    monkeypatch.setattr(decode_pool, "_Pool", None)
    (outcomes,) = decode_files(JOB, items(3), workers=2)
    assert [file.reason for file in outcomes] == [None] * 3
    assert list(decode_files(JOB, [], workers=2)) == []


def test_number_under_way_is_bounded(monkeypatch):
    taken = 0

    def counted():
        nonlocal taken
        for item in items(1) * 5000:
            taken += 1
            yield item

    monkeypatch.setattr(decode_pool, "_Pool", DecodeHere)
    next(decode_files(JOB, counted(), workers=2))
    assert taken == 64 * 4


def fail_at_first_outcome() -> None:
    for _ in decode_files(JOB, items(200), workers=2):
        raise ZeroDivisionError


def test_failing_meanwhile_leaves_no_process():
    with pytest.raises(ZeroDivisionError):
        fail_at_first_outcome()
    gc.collect()
    assert running_workers() == []


def test_file_that_crashes_the_decoder_is_refused_alone(monkeypatch, tmp_path):
    """The worker is replaced by one that kills itself at a certain name."""
    script = (
        "import os, signal; from pipeline.datasets.decoding import worker as w; decode = w._decode_one\n"
        "def crash(job, root, name, data):\n"
        "    if name in ('70.png', '71.png'): os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    return decode(job, root, name, data)\n"
        "w._decode_one = crash; w.serve()"
    )
    launch = decode_pool.subprocess.Popen
    monkeypatch.setattr(
        decode_pool.subprocess, "Popen", lambda command, **options: launch([command[0], "-c", script], **options)
    )
    found = [outcome for outcomes in decode_files(JOB, items(150), workers=2) for outcome in outcomes]
    assert [file.name for file in found] == [f"{i}.png" for i in range(150)]
    crashed = [file.name for file in found if file.reason is not None]
    assert crashed == ["70.png", "71.png"]
    assert found[70].reason == "crashes the decoder; save it anew with another program"


def serve_with(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers do something else with the file ``70.png``."""
    script = (
        "import os, signal; from pipeline.datasets.decoding import worker as w; decode = w._decode_one\n"
        f"def change(job, root, name, data):\n    if name == '70.png': {change}\n"
        "    return decode(job, root, name, data)\n"
        "w._decode_one = change; w.most_seconds = lambda max_pixels: 1; w.serve()"
    )
    launch = decode_pool.subprocess.Popen
    monkeypatch.setattr(
        decode_pool.subprocess, "Popen", lambda command, **options: launch([command[0], "-c", script], **options)
    )


def test_file_that_takes_too_long_is_refused_alone(monkeypatch):
    serve_with("sum(range(10**15))", monkeypatch)
    found = [outcome for outcomes in decode_files(JOB, items(100), workers=1) for outcome in outcomes]
    assert [file.name for file in found] == [f"{i}.png" for i in range(100)]
    assert {file.name: file.reason for file in found if file.reason is not None} == {
        "70.png": "takes more than 11 s to decode; save it anew with another program"
    }


@pytest.mark.parametrize("change", ["os.kill(os.getpid(), signal.SIGKILL)", "raise w.out_of_memory('decoding')"])
def test_lack_of_memory_is_no_fault_of_a_file(change, monkeypatch):
    serve_with(change, monkeypatch)
    with pytest.raises(ResourceError, match=r"decoding.* needs more memory than there is; close other programs or"):
        list(decode_files(JOB, items(100), workers=1))


def test_file_that_asks_for_memory_that_nobody_has_is_refused(monkeypatch):
    def decode(data: bytes, max_pixels: int) -> np.ndarray:
        return np.empty(2**60, np.uint8)

    monkeypatch.setattr(decode_worker, "decode_samples", decode)
    (file,) = decode_chunk(JOB, items(1))
    assert file.reason == "asks for far more memory than its pixels need; save it anew with another program"
    monkeypatch.setattr(decode_worker, "_ROOM_PER_PIXEL", 2**40)
    with pytest.raises(ResourceError, match=r"decoding '0.png' needs more memory than there is"):
        decode_chunk(JOB, items(1))


def test_decoder_that_cannot_start_is_no_fault_of_the_files(monkeypatch):
    monkeypatch.setattr(decode_pool.sys, "executable", "/bin/false")
    with pytest.raises(ResourceError, match=r"decoding needs processes .*; run `python -c"):
        list(decode_files(JOB, items(150), workers=1))


def test_killed_worker_is_replaced():
    stream = decode_files(JOB, items(1000), workers=1)
    found = list(next(stream))
    os.kill(running_workers()[0], signal.SIGKILL)
    found += [outcome for outcomes in stream for outcome in outcomes]
    assert [file.name for file in found] == [f"{i}.png" for i in range(1000)]
    assert all(file.reason is None for file in found)


def test_pixels_encoded_bytes_and_transform_are_sent_as_asked():
    some = items(2)
    job = DecodeJob(None, 1000, ImageTransform((2, 3), "stretch", "grey"), pixel_bytes=6, with_encoded=True)
    for file, (_, data) in zip(decode_chunk(job, some), some, strict=True):
        assert file.pixels is not None
        assert file.pixels.shape == (1, 2, 3)
        assert file.encoded == data
        assert file.shape == (3, 5, 4)
    too_large = DecodeJob(None, 1000, None, pixel_bytes=59, with_encoded=False)
    assert [(file.pixels, file.encoded) for file in decode_chunk(too_large, some)] == [(None, None)] * 2


def test_links_within_the_folder_are_read(tmp_path):
    (tmp_path / "a").mkdir()
    data = encode(picture(1))
    (tmp_path / "a" / "real.png").write_bytes(data)
    (tmp_path / "link.png").symlink_to("a/real.png")
    (tmp_path / "deep").symlink_to("a")
    (tmp_path / "by_folder.png").symlink_to(tmp_path / "deep" / ".." / "a" / "real.png")
    (tmp_path.parent / "alias").symlink_to(tmp_path)
    for root in (tmp_path, tmp_path.parent / "alias"):
        with Beneath(Root(str(root))) as folder:
            for name in ("a/real.png", "link.png", "by_folder.png"):
                assert read_regular(folder, name, 1000) == data


@pytest.mark.parametrize("name", ["../outside.png", "folder/../../outside.png"])
def test_links_and_dots_do_not_lead_out(tmp_path, name):
    folder = tmp_path / "in"
    (folder / "folder").mkdir(parents=True)
    (tmp_path / "outside.png").write_bytes(encode(picture(1)))
    (folder / "x.png").symlink_to(name)
    with Beneath(Root(str(folder))) as opened, pytest.raises(DataError, match="leads out of the folder"):
        read_regular(opened, "x.png", 1000)


def test_large_file_is_looked_at_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(decode_worker, "_LOOK_BEFORE_READING", 10)
    (tmp_path / "bomb.bmp").write_bytes(bomb("BMP"))
    (tmp_path / "fine.png").write_bytes(encode(picture(1)))
    with Beneath(Root(str(tmp_path))) as folder:
        with pytest.raises(DataError, match="has 20000×20000 pixels, more than max_pixels = 1000000"):
            read_regular(folder, "bomb.bmp", 1_000_000)
        assert read_regular(folder, "fine.png", 1_000_000) == encode(picture(1))


def test_unreadable_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "locked.png").write_bytes(encode(picture(1)))

    def deny(path: str, *arguments: Any, **options: Any) -> int:
        if path == "locked.png":
            raise PermissionError(13, "Permission denied")
        return open_it(path, *arguments, **options)

    open_it = os.open
    monkeypatch.setattr(os, "open", deny)
    (file,) = decode_chunk(DecodeJob(Root(str(tmp_path)), 1000, None, None, False), [("locked.png", None)])
    assert file == DecodedFile(
        "locked.png", "cannot be read (Permission denied); mend its permissions or deliver it again"
    )
