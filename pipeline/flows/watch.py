"""The service watches itself: its server, the server's background services, schedules, params.yaml, stuck deliveries.

What is wrong is an alert once and makes the service unhealthy for as long as it lasts: ``/-/health`` beside the pages
and ``facets status`` say so.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_logger

from pipeline.config import Params, load_params
from pipeline.core.errors import ConfigError
from pipeline.core.layout import Layout
from pipeline.core.text import printable
from pipeline.flows.alert import end_alerts, send_alert
from pipeline.flows.deployments import change_schedule, deployments_of
from pipeline.flows.health import why_silent
from pipeline.flows.repository import repository_name
from pipeline.flows.schedules import impatient_client, schedule_states
from pipeline.flows.server_log import ServerLog
from pipeline.operations.deliveries import troubles
from pipeline.operations.inbox import DONE, REJECTED

_KEYS = "watch: "
_LOOK_SECONDS = 10.0
_SECONDS_TO_ANSWER = 10.0
_BLIND_SECONDS = 300.0  # a look that hangs for so long sees nothing
_STUCK_SECONDS = 3600.0
_UNKNOWN = "see the ingest runs, and whether it is still being written"
_PATIENCE_SECONDS = 60.0  # what a restart of the server or a half-written file looks like is no fault


@dataclass
class Watch:
    """Looks at everything again and again.

    Attributes:
        root: of the repository.
        params: as they were when the service started.
        server_log: log of the server, where it is ours.
        patience_seconds: for how long something must be wrong before it is a fault.
        stuck_seconds: for how long a delivery may lie in an inbox.
    """

    root: Path
    params: Params
    server_log: Path | None
    patience_seconds: float = _PATIENCE_SECONDS
    stuck_seconds: float = _STUCK_SECONDS
    _log: ServerLog | None = None
    _signature: tuple[int, ...] | None = None
    _wrong_since: dict[str, float] = field(default_factory=dict)
    _lying_since: dict[Path, float] = field(default_factory=dict)
    _faults: dict[str, str] = field(default_factory=dict)
    _config_fault: str = ""
    _scheduled: set[tuple[str, str]] = field(default_factory=set)
    _looked_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._log = ServerLog(self.server_log) if self.server_log else None
        self._signature = self._params_signature()
        self._scheduled = _scheduled(self.params)
        end_alerts(self.root, lambda key: key.startswith(_KEYS))  # what was wrong before may be so no more

    def run(self, stop: threading.Event) -> None:
        """Look until told to stop."""
        while not stop.wait(_LOOK_SECONDS):
            try:
                self.look(time.monotonic())
            except Exception as error:  # noqa: BLE001 - whatever goes wrong, the next look may see more
                get_logger("facets.watch").warning("looking failed (%s: %s)", type(error).__name__, error)

    def health(self) -> dict[str, Any]:
        """Return ``healthy`` and the ``faults``, as ``/-/health`` answers."""
        faults = list(self._faults.values())
        if time.monotonic() - self._looked_at > _BLIND_SECONDS:
            faults.append("the service does not look after itself any more; start it again")
        return {"healthy": not faults, "faults": faults}

    def look(self, now: float) -> None:
        """Look once; tell of what is new.

        Args:
            now: seconds on a clock that never jumps.
        """
        found = {f"server {name}": f"Prefect's {name} fails: {why}" for name, why in self._failing_services(now)}
        patient = {**dict(self._with_server()), **dict(self._stuck(now)), **dict(self._config())}
        self._wrong_since = {key: self._wrong_since.get(key, now) for key in patient}
        found |= {key: text for key, text in patient.items() if now - self._wrong_since[key] >= self.patience_seconds}
        gone = self._faults.keys() - found.keys()
        end_alerts(self.root, lambda key: key.removeprefix(_KEYS) in gone)
        self._faults = found
        self._looked_at = time.monotonic()
        for key, text in found.items():
            send_alert(self.root, _KEYS + key, text)

    def _failing_services(self, now: float) -> Iterator[tuple[str, str]]:
        if self._log is not None:
            yield from self._log.faults(now).items()

    def _with_server(self) -> Iterator[tuple[str, str]]:
        """Yield what the server tells of schedules, or that it tells nothing; bring changed schedules to it."""
        try:
            with impatient_client(_SECONDS_TO_ANSWER) as client:
                self._apply_changes(client)
                states = schedule_states(client, repository_name(self.root))
        except httpx.HTTPError as error:
            yield "server", f"the Prefect server does not answer ({why_silent(error)}); see its log"
            return
        for state in states:
            if state.fault:
                what = f"{state.flow} of {state.experiment} ({state.when})"
                yield f"schedule {state.flow} {state.experiment}", f"the schedule of {what} is not kept: {state.fault}"
        known = {(state.flow, state.experiment) for state in states}
        for flow, experiment in self._scheduled - known:
            yield (
                f"schedule {flow} {experiment}",
                (f"{flow} of {experiment} has no schedule on the server any more; start the service again"),
            )

    def _apply_changes(self, client: SyncPrefectClient) -> None:
        """Let a changed cron expression, interval or time zone take effect; who is no longer active has no schedule."""
        signature = self._params_signature()
        if signature == self._signature:
            self._config_fault = ""
            return
        try:
            params = load_params(self.root)
            wanted = {(each.flow_name, each.name): each.schedules for each in deployments_of(params, self.root)}
        except ConfigError as error:
            self._config_fault = f"params.yaml breaks a rule, so what was changed has no effect: {error}"
            return
        self._config_fault = ""
        logger = get_logger("facets.watch")
        for each in deployments_of(self.params, self.root):
            schedules = wanted.get((each.flow_name, each.name))
            name = f"{each.flow_name}/{each.name}"
            with suppress(ObjectNotFound):
                found = client.read_deployment_by_name(name)
                if change_schedule(client, found, schedules[0].schedule if schedules else None):
                    logger.warning("%s has another schedule now, or none", name)
        self._scheduled = _scheduled(params) & _scheduled(self.params)
        if set(params.active) != set(self.params.active):
            logger.warning("active names other experiments; start the service again to serve them")
        self._signature = signature

    def _config(self) -> Iterator[tuple[str, str]]:
        if self._config_fault:
            yield "params.yaml", self._config_fault

    def _params_signature(self) -> tuple[int, ...] | None:
        try:
            stat = (self.root / "params.yaml").stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

    def _stuck(self, now: float) -> Iterator[tuple[str, str]]:
        """Yield deliveries that lie in an inbox for long, with what is known of the reason."""
        lying: dict[Path, float] = {}
        for experiment in self.params.active:
            layout = Layout(self.root, experiment)
            reasons = {trouble.name: trouble.reason for trouble in troubles(layout)}
            for path in _entries(layout.inbox):
                lying[path] = self._lying_since.get(path, now)
                seconds = now - lying[path]
                if seconds >= self.stuck_seconds:
                    reason = reasons.get(printable(path.name), _UNKNOWN)
                    what = f"{experiment}: {path.name!r} has been in the inbox {seconds / 60:.0f} min; {reason}"
                    yield f"stuck {experiment} {path.name}", what
        self._lying_since = lying


def _scheduled(params: Params) -> set[tuple[str, str]]:
    return {(flow, experiment) for flow in ("rebuild", "retrain", "tidy") for experiment in params.active}


def _entries(inbox: Path) -> list[Path]:
    try:
        return [path for path in inbox.iterdir() if path.name not in (DONE, REJECTED) and not path.name.startswith(".")]
    except OSError:
        return []
