"""Looks into the inboxes and asks for one flow run per complete delivery; an empty inbox costs no run."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from prefect.logging import get_logger

from pipeline.config import Params
from pipeline.layout import Layout
from pipeline.operations.inbox import InboxWatch

_FIRST_RETRY_SECONDS = 30.0
_LONGEST_RETRY_SECONDS = 900.0


@dataclass
class _Request:
    """A delivery that a run was asked for."""

    run_id: object
    n_tries: int
    again_at: float


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
            except Exception:
                # The service must outlive whatever the server or a disk does.
                logger.warning("looking into the inboxes failed, trying again", exc_info=True)

    def poll(self, now: float) -> list[Path]:
        """Look once and return the deliveries for which a run was asked."""
        asked: list[Path] = []
        for name, watch in self._watches.items():
            ready = watch.complete(now)
            for delivery in ready:
                if self._is_due(delivery, now):
                    self._ask(name, delivery, now)
                    asked.append(delivery)
        self._requests = {path: request for path, request in self._requests.items() if path.exists()}
        return asked

    def _is_due(self, delivery: Path, now: float) -> bool:
        request = self._requests.get(delivery)
        if request is None:
            return True
        if now < request.again_at:
            return False
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(request.run_id).state  # pyright: ignore[reportArgumentType]
        return state is None or state.is_final()

    def _ask(self, experiment: str, delivery: Path, now: float) -> None:
        known = self._requests.get(delivery)
        n_tries = 0 if known is None else known.n_tries + 1
        run = run_deployment(
            f"ingest/{experiment}",
            parameters={"experiment": experiment, "delivery": delivery.name},
            timeout=0,
            as_subflow=False,
            _sync=True,  # pyright: ignore[reportCallIssue]
        )
        wait = min(_FIRST_RETRY_SECONDS * 2**n_tries, _LONGEST_RETRY_SECONDS)
        self._requests[delivery] = _Request(run.id, n_tries, now + wait)  # pyright: ignore[reportAttributeAccessIssue]
