"""How the service is, for those who ask from outside: where it is noted, and what ``facets status`` shows of it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from pipeline.core.errors import DataError, PipelineError
from pipeline.core.storage import read_json, write_json
from pipeline.flows.access import read_secret
from pipeline.flows.pages import HEALTH

_SECONDS_TO_ANSWER = 3.0


@dataclass(frozen=True)
class ServiceStatus:
    """The service and the schedules of a repository.

    Attributes:
        says: how it is, in a line.
        faults: what is wrong; a service that was stopped, or was never started, is none.
        schedules: one record a scheduled flow (:class:`pipeline.flows.schedules.ScheduleState`), from the server.
    """

    says: str
    faults: list[str] = field(default_factory=list)
    schedules: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def noted(root: Path, server: str, pages: str, is_own_server: bool) -> Iterator[None]:
    """Note where the service answers while the block lasts; the note stays where it ends by a fault or is killed."""
    write_json(_path(root), {"pid": os.getpid(), "server": server, "pages": pages, "is_own_server": is_own_server})
    try:
        yield
    except KeyboardInterrupt:
        _path(root).unlink(missing_ok=True)
        raise
    _path(root).unlink(missing_ok=True)


def service_status(root: Path) -> ServiceStatus:
    """Ask service and server; takes a few seconds at most and fails in no case."""
    server = os.environ.get("PREFECT_API_URL")
    needs_secret = False
    try:
        note = read_json(_path(root))
        if not server:
            server, needs_secret = note["server"], note["is_own_server"]
        health, says = _ask_service(note["pages"], note["pid"])
    except (DataError, KeyError, TypeError):
        if not server:
            return ServiceStatus("no service runs here")
        health, says = [], "no service runs here, a worker may"
    try:
        schedules = _ask_server(root, server, needs_secret)
    except ImportError as error:
        return ServiceStatus(f"{says}; schedules are not known without Prefect ({error})", health)
    except PipelineError as error:
        return ServiceStatus(f"{says}; schedules are not shown: {error}", health)
    except Exception as error:  # noqa: BLE001 - whatever a server answers, the rest of the status must be shown
        return ServiceStatus(f"{says}; the server at {server} does not answer ({why_silent(error)})", health)
    late = [f"{state['flow']} of {state['experiment']}: {state['fault']}" for state in schedules if state["fault"]]
    return ServiceStatus(f"{says}; Prefect at {server.removesuffix('/api')}", health or late, schedules)


def _ask_service(pages: str, pid: int) -> tuple[list[str], str]:
    try:
        answer = httpx.get(f"{pages}{HEALTH}", timeout=_SECONDS_TO_ANSWER, trust_env=False).json()
        return list(answer["faults"]), "the service runs"
    except (httpx.HTTPError, json.JSONDecodeError, KeyError, TypeError):
        gone = f"the service (pid {pid}) does not answer at {pages}{HEALTH} and was not stopped; start it again"
        return [gone], "the service does not answer"


def _ask_server(root: Path, server: str, needs_secret: bool) -> list[dict[str, Any]]:
    httpx.get(f"{server}/health", timeout=_SECONDS_TO_ANSWER, trust_env=False).raise_for_status()
    os.environ["PREFECT_API_URL"] = server
    if needs_secret:
        os.environ["PREFECT_API_AUTH_STRING"] = read_secret(root)
    from pipeline.flows.environment import configure

    configure(root)
    from pipeline.flows.repository import repository_name
    from pipeline.flows.schedules import impatient_client, schedule_states

    with impatient_client(_SECONDS_TO_ANSWER) as client:
        return [asdict(state) for state in schedule_states(client, repository_name(root))]


def why_silent(error: Exception) -> str:
    """Return what to call a failed question to the server: the status of its answer, or what went wrong."""
    return f"HTTP {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else type(error).__name__


def _path(root: Path) -> Path:
    return root / ".work" / "service.json"
