"""Looks into the inboxes and asks for one flow run per complete delivery; an empty inbox costs no run."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from prefect.logging import get_logger

from pipeline.config import Params
from pipeline.layout import Layout
from pipeline.operations.inbox import InboxWatch

_FIRST_RETRY_SECONDS = 30.0
_LONGEST_RETRY_SECONDS = 900.0

_AT_ONCE = 2
"""Runs of one experiment that are asked for at a time: they take turns, but one can start while another works."""


@dataclass
class _Request:
    """A delivery that a run was asked for."""

    run_id: UUID
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
                logger.warning("looking into the inboxes failed (%s: %s); trying again", type(error).__name__, error)

    def poll(self, now: float) -> list[Path]:
        """Look once and return the deliveries for which a run was asked."""
        asked: list[Path] = []
        for experiment, watch in self._watches.items():
            ready = watch.complete(now)
            self._look_at_runs(watch.layout.inbox)
            n_working = sum(not self._requests[path].is_over for path in ready if path in self._requests)
            due = [path for path in ready if self._is_due(path, now)]
            for delivery in due[: max(0, _AT_ONCE - n_working)]:
                self._ask(experiment, delivery, now)
                asked.append(delivery)
        return asked

    def _look_at_runs(self, inbox: Path) -> None:
        """Learn which runs have ended, and forget deliveries that are gone."""
        for path, request in list(self._requests.items()):
            if path.parent == inbox and not path.exists():
                del self._requests[path]
            elif path.parent == inbox and not request.is_over:
                with get_client(sync_client=True) as client:
                    state = client.read_flow_run(request.run_id).state
                request.is_over = state is None or state.is_final()

    def _is_due(self, delivery: Path, now: float) -> bool:
        request = self._requests.get(delivery)
        return request is None or (request.is_over and now >= request.again_at)

    def _ask(self, experiment: str, delivery: Path, now: float) -> None:
        known = self._requests.get(delivery)
        n_tries = 0 if known is None else known.n_tries + 1
        while True:
            run: Any = run_deployment(
                f"ingest/{experiment}",
                parameters={"experiment": experiment, "delivery": delivery.name},
                # A service that was started anew finds the run that it asked for before, instead of asking for another.
                idempotency_key=f"{delivery} {delivery.lstat().st_ctime_ns} {n_tries}",
                timeout=0,
                as_subflow=False,
                _sync=True,  # pyright: ignore[reportCallIssue]
            )
            if run.state is None or not run.state.is_final():
                break
            n_tries += 1
        wait = min(_FIRST_RETRY_SECONDS * 2**n_tries, _LONGEST_RETRY_SECONDS)
        self._requests[delivery] = _Request(run.id, n_tries, now + wait)
