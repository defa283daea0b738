"""Looks into the inboxes and asks for one flow run per complete delivery; an empty inbox costs no run."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_logger

from pipeline.config import Params
from pipeline.core.layout import Layout
from pipeline.core.text import printable
from pipeline.flows.repository import deployment_name
from pipeline.operations.deliveries import note_trouble
from pipeline.operations.inbox import InboxWatch
from pipeline.operations.page import show_rejected
from pipeline.operations.rejected import rejected_deliveries

_FIRST_RETRY_SECONDS = 15.0
_LONGEST_RETRY_SECONDS = 900.0

_LARGEST_STEP = timedelta(days=1)
"""By so much the clock may be set back just after a run was asked for. Due right then, as Prefect has it by default,
the run would be put off until the clock has come to where it was, and with it all deliveries behind it."""

_SECONDS_TO_SHOW = 5.0
"""So long the inboxes wait at most for one who publishes, and who composes the page himself in the end."""

_AT_ONCE = 2
"""Runs of one experiment that are asked for at a time: they take turns, but one can start while another works."""


@dataclass
class _Request:
    """A delivery that a run was asked for."""

    run_id: UUID | None
    n_tries: int
    again_at: float
    is_over: bool = False


@dataclass
class InboxPoller:
    """Polls the inboxes of some experiments.

    Attributes:
        root: of the repository.
        params: with the experiments' settings.
        experiments: whose inboxes.
    """

    root: Path
    params: Params
    experiments: Sequence[str]
    _watches: dict[str, InboxWatch] = field(default_factory=dict)
    _requests: dict[Path, _Request] = field(default_factory=dict)
    _rejected: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.experiments:
            quiet_seconds = self.params.experiment(name).ingest.quiet_seconds
            self._watches[name] = InboxWatch(Layout(self.root, name), quiet_seconds)

    def run(self, stop: threading.Event) -> None:
        """Poll until told to stop; a fault (a server that restarts) is logged and the next round tries again."""
        seconds = min(self.params.experiment(name).schedule.poll_seconds for name in self.experiments)
        logger = get_logger("facets.inbox")
        while not stop.wait(seconds):
            try:
                self.poll(time.monotonic())
            except Exception as error:  # noqa: BLE001 - the service must outlive whatever the server or a disk does
                logger.warning("the inboxes cannot be watched (%s: %s); trying again", type(error).__name__, error)

    def poll(self, now: float) -> list[Path]:
        """Look once and return the deliveries for which a run was asked; a fault of one keeps no other waiting."""
        asked: list[Path] = []
        for experiment, watch in self._watches.items():
            with _going_on(f"looking into the inbox of {experiment}"):
                ready = watch.complete(now)
                self._show_rejected(watch.layout)
                self._look_at_runs(watch.layout)
                n_working = sum(not self._requests[path].is_over for path in ready if path in self._requests)
                due = [path for path in ready if self._is_due(path, now)]
                due.sort(key=lambda path: path in self._requests)  # those that were never tried first
                while due and n_working < _AT_ONCE:
                    delivery = due.pop(0)
                    with _going_on(f"asking for {delivery.name}"):
                        self._ask(experiment, delivery, now)
                        asked.append(delivery)
                        n_working += 1
        return asked

    def _show_rejected(self, layout: Layout) -> None:
        """Bring the page in line with ``rejected/``, whoever put something there or cleared it away; try each once."""
        with _going_on(f"showing what was rejected of {layout.experiment}"):
            names = [one.name for one in rejected_deliveries(layout)]
            if names != self._rejected.get(layout.experiment):
                self._rejected[layout.experiment] = names
                show_rejected(layout, _SECONDS_TO_SHOW)

    def _look_at_runs(self, layout: Layout) -> None:
        """Learn which runs have ended, and forget deliveries that are gone."""
        for path, request in list(self._requests.items()):
            if path.parent == layout.inbox and not os.path.lexists(path):
                del self._requests[path]
            elif path.parent == layout.inbox and not request.is_over:
                state = None if request.run_id is None else _state_of(request.run_id)
                request.is_over = state is None or state.is_final()
                if state is not None and state.is_crashed():
                    note_trouble(layout, path, f"its run crashed: {state.message}")

    def _is_due(self, delivery: Path, now: float) -> bool:
        request = self._requests.get(delivery)
        return request is None or (request.is_over and now >= request.again_at)

    def _ask(self, experiment: str, delivery: Path, now: float) -> None:
        known = self._requests.get(delivery)
        n_tries = 0 if known is None else known.n_tries + 1
        self._requests[delivery] = _Request(None, n_tries, now + _FIRST_RETRY_SECONDS, is_over=True)  # if asking fails
        while True:
            run: Any = run_deployment(
                f"ingest/{deployment_name(self.root, experiment)}",
                parameters={"experiment": experiment, "delivery": delivery.name},
                # A service that was started anew finds the run that it asked for before, instead of asking for another.
                idempotency_key=f"{delivery} {delivery.lstat().st_ctime_ns} {n_tries}",
                scheduled_time=datetime.now(UTC) - _LARGEST_STEP,
                timeout=0,
                as_subflow=False,
                _sync=True,  # pyright: ignore[reportCallIssue]
            )
            if run.state is None or not run.state.is_final():
                break
            n_tries += 1
        wait = min(_FIRST_RETRY_SECONDS * 2**n_tries, _LONGEST_RETRY_SECONDS)
        self._requests[delivery] = _Request(run.id, n_tries, now + wait)


def _state_of(run_id: UUID) -> State | None:
    """Return the state of a run; None where the server has forgotten it."""
    with get_client(sync_client=True) as client:
        try:
            return client.read_flow_run(run_id).state
        except ObjectNotFound:
            return None


@contextmanager
def _going_on(doing: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - what is wrong with one must not keep the others waiting
        get_logger("facets.inbox").warning(
            "%s failed (%s); trying again", printable(doing), printable(f"{type(error).__name__}: {error}")
        )
