"""Flow ingest on a real server with real subprocesses."""

from pathlib import Path

import numpy as np

from pipeline.flows.ingest import ingest
from tests.operations.tiny import EXPERIMENT, Tiny, new_images


def deliver(tiny: Tiny, name: str, images: np.ndarray) -> Path:
    tiny.layout.inbox.mkdir(parents=True, exist_ok=True)
    np.save(tiny.layout.inbox / name, images)
    return tiny.layout.inbox / name


def test_a_delivery_becomes_rows_and_moves_to_done(tiny: Tiny) -> None:
    path = deliver(tiny, "new.npy", new_images(40))
    state = ingest(EXPERIMENT, "new.npy", return_state=True)
    assert state.is_completed()
    assert state.message == "40 new images, 0 duplicates, 0 quarantined, version 2"
    assert len(tiny.image_ids()) == 160
    assert not path.exists()
    assert len(list((tiny.layout.inbox / "done").glob("*-new.npy"))) == 1
    again = ingest(EXPERIMENT, "new.npy", return_state=True)
    assert (again.is_completed(), again.message) == (True, "read already")


def test_a_useless_delivery_moves_to_rejected_with_its_reason(tiny: Tiny) -> None:
    (deliver(tiny, "bad.npy", new_images(1))).write_bytes(b"no array")
    state = ingest(EXPERIMENT, "bad.npy", return_state=True)
    assert state.is_completed()
    (reason,) = (tiny.layout.inbox / "rejected").glob("*-bad.npy.reason.txt")
    assert "bad.npy" in reason.read_text()
    assert len(tiny.image_ids()) == 120
