"""What is wrong with one delivery, run or experiment keeps no other waiting; and whose fault a failure is."""

import logging
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import yaml
from prefect.client.schemas.objects import State, StateType

from pipeline.config import load_params
from pipeline.core.errors import BusyError, ConfigError, DataError, PublishError, ResourceError
from pipeline.core.layout import Layout
from pipeline.flows import commands, poller
from pipeline.flows.commands import CommandCrashed, LineLog, run_facets
from pipeline.flows.ingest import _finish, _reasons_to_reject, _reject, ingest
from pipeline.flows.poller import InboxPoller
from pipeline.operations.deliveries import MOST_CRASHES, troubles
from pipeline.operations.rejected import rejected_deliveries
from tests.operations.tiny import Tiny
from tests.repository import EXPERIMENT, tiny_experiment


class Asked:
    """Stands in for the server: takes requests, and knows how their runs ended."""

    def __init__(self) -> None:
        self.deliveries: list[str] = []
        self.times: list[datetime] = []
        self.states: dict[object, StateType] = {}

    def run_deployment(self, _name: str, *, parameters: dict[str, str], scheduled_time: datetime, **_: Any) -> Any:
        if "refused" in parameters["delivery"]:
            raise ValueError("the server does not take this name")
        self.deliveries.append(parameters["delivery"])
        self.times.append(scheduled_time)
        run = SimpleNamespace(id=uuid4(), state=State(type=StateType.SCHEDULED))
        self.states[run.id] = StateType.RUNNING
        return run

    def state_of(self, run_id: object) -> State | None:
        return State(type=self.states[run_id], message="killed") if run_id in self.states else None


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """The experiment's parameters; nothing here asks for its tables."""
    root = tmp_path / "tiny"
    root.mkdir()
    params = {"active": [EXPERIMENT], "experiments": {name: tiny_experiment() for name in (EXPERIMENT, "other")}}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    return Tiny(root)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    server = Asked()
    monkeypatch.setattr(poller, "run_deployment", server.run_deployment)
    monkeypatch.setattr(poller, "_state_of", server.state_of)
    return server


@pytest.fixture
def watching(asked: Asked, tiny: Tiny) -> InboxPoller:
    return InboxPoller(tiny.root, load_params(tiny.root), [EXPERIMENT, "other"])


def deliver(layout: Layout, *names: str) -> None:
    for name in names:
        (layout.inbox / name).mkdir(parents=True)
        (layout.inbox / name / "1.png").write_bytes(b"x")
        (layout.inbox / name / ".complete").touch()


def test_a_run_stays_due_where_the_clock_is_set_back(watching: InboxPoller, asked: Asked, tiny: Tiny) -> None:
    """Prefect lets neither a runner start a run, nor a started one begin, before the time that it is due."""
    deliver(tiny.layout, "a")
    watching.poll(0.0)
    (due,) = asked.times
    assert due < datetime.now(UTC) - timedelta(hours=12)


def test_poison_takes_no_slot(watching: InboxPoller, asked: Asked, tiny: Tiny) -> None:
    deliver(tiny.layout, "a-refused", "b-refused", "c-refused", "good", "later")
    for name in ("loop", "0-loop"):
        (tiny.layout.inbox / name).symlink_to(name)
    (tiny.layout.inbox / "0-dangling").symlink_to("nowhere")
    deliver(tiny.layout, os.fsdecode(b"0-\xff"))
    watching.poll(0.0)
    assert asked.deliveries == ["0-\\xff", "good"]
    for run_id in asked.states:
        asked.states[run_id] = StateType.COMPLETED
    watching.poll(1.0)
    assert asked.deliveries[2:] == ["later"]


def test_an_inbox_that_cannot_be_read_keeps_no_other_experiment_waiting(
    watching: InboxPoller, asked: Asked, tiny: Tiny
) -> None:
    tiny.layout.inbox.parent.mkdir(parents=True, exist_ok=True)
    tiny.layout.inbox.symlink_to(tiny.layout.inbox.name)
    deliver(Layout(tiny.root, "other"), "good")
    watching.poll(0.0)
    assert asked.deliveries == ["good"]


def test_a_run_that_the_server_forgot_is_asked_for_again(watching: InboxPoller, asked: Asked, tiny: Tiny) -> None:
    deliver(tiny.layout, "a")
    watching.poll(0.0)
    asked.states.clear()
    watching.poll(1.0)
    watching.poll(100.0)
    assert asked.deliveries == ["a", "a"]


def test_a_run_that_crashed_is_noted(watching: InboxPoller, asked: Asked, tiny: Tiny) -> None:
    deliver(tiny.layout, "a")
    watching.poll(0.0)
    (run_id,) = asked.states
    asked.states[run_id] = StateType.CRASHED
    watching.poll(1.0)
    assert [trouble.reason for trouble in troubles(tiny.layout)] == ["its run crashed: killed"]


@pytest.mark.parametrize(
    "command",
    [
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "raise MemoryError",
        "import os; os.abort()",
        "raise SystemExit(3)",  # a code of ours, but without a message of ours
    ],
)
def test_only_crashes_count_and_only_so_many(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    deliver(tiny.layout, "a")
    path = tiny.layout.inbox / "a"
    monkeypatch.setattr(commands, "_COMMAND", command)
    monkeypatch.setattr(commands, "get_run_logger", lambda: logging.getLogger("here"))
    log = LineLog(tiny.root, "ingest")
    for number in range(1, MOST_CRASHES + 1):
        for error in (BusyError("held"), ResourceError("full"), ConfigError("odd"), PublishError("damaged")):
            assert _reasons_to_reject(tiny.layout, path, error) == []
        with pytest.raises(CommandCrashed, match="must end with exit code 0") as crash:
            run_facets(tiny.root, ["ingest"], log)
        reasons = _reasons_to_reject(tiny.layout, path, crash.value)
        assert bool(reasons) == (number == MOST_CRASHES)
    assert reasons[0] == "reading it ended a process by force 5 times; divide it, or look for the file that does so"
    assert _reasons_to_reject(tiny.layout, path, DataError("is empty")) == ["is empty"]


def test_a_command_that_did_its_work_but_does_not_say_what_rejects_nothing(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "_COMMAND", "print('done')")
    monkeypatch.setattr(commands, "get_run_logger", lambda: logging.getLogger("here"))
    log = LineLog(tiny.root, "ingest")
    with pytest.raises(ResourceError, match="must print JSON"):
        run_facets(tiny.root, ["ingest"], log)


def everything(tiny: Tiny) -> list[Path]:
    return sorted(path for path in tiny.root.rglob("*") if ".work" not in path.parts)


RESULT = {
    "batch_id": "b-1",
    "drifted": None,
    "n_images": 5,
    "duplicates": 0,
    "quarantined": [("x.png", "is empty (0 bytes); deliver it again")],
    "version": 2,
    "faults": ["drawing thumbnails failed (x)"],
}


def test_once_the_rows_are_in_nothing_says_otherwise(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.flows import ingest as module

    said: list[str] = []
    monkeypatch.setattr(module, "get_run_logger", lambda: SimpleNamespace(warning=lambda *words: said.append(words[0])))
    monkeypatch.setattr(module, "show_batch", lambda *_: 1 / 0)
    deliver(tiny.layout, "a", "b")
    state = _finish(tiny.layout, tiny.layout.inbox / "a", RESULT)
    assert state.is_completed()
    assert state.message == (
        "5 new images, 0 duplicates, version 2; 1 of 6 set aside: 1 × is empty (0 bytes); deliver it again; "
        "drawing thumbnails failed (x)"
    )
    assert "not shown on Prefect's pages" in said[0]
    assert not (tiny.layout.inbox / "a").exists()
    subprocess.run(["rm", "-r", tiny.layout.inbox / "done"], check=True)
    (tiny.layout.inbox / "done").touch()
    with pytest.raises(ResourceError, match=r"the images are in \(5 new images.*\), but .*must be movable to"):
        _finish(tiny.layout, tiny.layout.inbox / "b", RESULT)
    assert "its images are in" in troubles(tiny.layout)[0].reason
    assert not (tiny.layout.inbox / "rejected").exists()


def test_what_was_rejected_is_shown_and_said_where_it_lies_now(
    tiny: Tiny, watching: InboxPoller, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.flows import ingest as module

    said: list[str] = []
    shown: list[list[str]] = []

    def show(layout: Layout, *_: float) -> None:
        if layout.experiment == EXPERIMENT:
            shown.append([one.reason for one in rejected_deliveries(layout)])

    monkeypatch.setattr(module, "send_alert", lambda _root, _key, text: said.append(text))
    for place in (module, poller):
        monkeypatch.setattr(place, "show_rejected", show)
    deliver(tiny.layout, "broken")
    path = tiny.layout.inbox / "broken"
    _reject(tiny.layout, path, [f"{path}/0.npy is empty; deliver it again"])
    (now,) = (tiny.layout.inbox / "rejected").glob("*-broken")
    assert shown == [[f"{now}/0.npy is empty; deliver it again"]]
    assert said == [f"{EXPERIMENT}: 'broken' was rejected: {now}/0.npy is empty; deliver it again"]
    (tiny.layout.inbox / "link").symlink_to("nowhere")  # rejected by whoever looks into the inbox
    for time in (0.0, 100.0, 101.0):
        watching.poll(time)
    assert [len(reasons) for reasons in shown] == [1, 1, 2]
    subprocess.run(["rm", "-r", tiny.layout.inbox / "rejected"], check=True)
    watching.poll(200.0)
    assert shown[-1] == []


@pytest.mark.parametrize("delivery", ["/srv/precious", "../../batches/tiny", "../other", ".hidden", "done", "link"])
def test_a_refused_name_moves_nothing(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, delivery: str) -> None:
    from pipeline.flows import ingest as module

    monkeypatch.setenv("FACETS_ROOT", str(tiny.root))
    deliver(tiny.layout, "../other", ".hidden", "done", "../../batches/tiny/b-1")
    (tiny.layout.inbox / "link").symlink_to("done")
    before = everything(tiny)
    monkeypatch.setattr(module, "read_delivery", lambda *_: pytest.fail("must not be read"))
    with pytest.raises(DataError, match=r"must lie directly in|is a link"):
        ingest.fn(EXPERIMENT, delivery)
    assert everything(tiny) == before
    with pytest.raises(ConfigError):
        ingest.fn("../batches", "tiny")
    assert everything(tiny) == before
