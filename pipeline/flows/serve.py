"""The service: deployments with their schedules, a runner that executes runs in processes, and the inbox poller."""

import asyncio
import functools
import os
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType
from uuid import UUID

from prefect.context import refresh_global_settings_context
from prefect.runner import Runner
from prefect.runner import runner as runner_module
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_KEY, PREFECT_API_URL

from pipeline.config import load_params
from pipeline.core.errors import BusyError, PipelineError, ResourceError
from pipeline.core.supervision import supervised
from pipeline.flows.access import own_secret, require_access, secret_file
from pipeline.flows.alert import ALERT_URL, check_alert_url, end_alerts, send_alert
from pipeline.flows.health import noted
from pipeline.flows.missed import LatestRunPoller
from pipeline.flows.pages import HEALTH, PAGES, served_pages
from pipeline.flows.poller import InboxPoller
from pipeline.flows.registration import register
from pipeline.flows.repository import repository_name
from pipeline.flows.server import embedded_server, server_log
from pipeline.flows.starter import Starter, known_flow
from pipeline.flows.vital import VitalThreads
from pipeline.flows.watch import Watch
from pipeline.operations.locks import service_lock

_RUNS_AT_ONCE = 8
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_TO_END = 5.0
_START = "serve"  # key of the alert that there is no service


class _Runner(Runner):
    """A runner that ends on SIGTERM as on Ctrl-C; Prefect's own handler raises inside its event loop.

    It must not pass the signal on as SIGINT: a shell starts what runs in the background with that one ignored.
    """

    async def serve(self, vital: VitalThreads) -> None:
        """Execute runs until a signal comes.

        Raises:
            PipelineError: a vital thread or the runner itself has ended.
        """
        self._told_to_end = asyncio.Event()
        self._serving = asyncio.get_running_loop()
        told, work = asyncio.create_task(self._told_to_end.wait()), asyncio.create_task(self.start())
        try:
            while not told.done() and not work.done():
                await asyncio.wait([told, work], timeout=_SECONDS_BETWEEN_LOOKS, return_when=asyncio.FIRST_COMPLETED)
                vital.require_alive()
        finally:
            work.cancel()
            (fault,) = await asyncio.gather(work, return_exceptions=True)
        if not told.done():
            raise ResourceError(f"the runner must run as long as the service, but it ended ({fault!r}); start again")

    def handle_sigterm(self, _signal: int, _frame: FrameType | None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not self._serving.is_closed():  # else the service is ending already
            self._serving.call_soon_threadsafe(self._told_to_end.set)


def serve(root: Path, host: str, port: int, alert_url: str | None = None) -> None:
    """Serve all active experiments until interrupted.

    Args:
        root: of the repository.
        host: address of the embedded server and of the pages.
        port: of the embedded server, which is not started where ``PREFECT_API_URL`` names another one; the pages of the
            experiments have the next one.
        alert_url: receives a POST when something goes wrong.

    Raises:
        ConfigError: params.yaml breaks a rule, or the address for alerts is none.
        BusyError: another process serves this repository.
        ResourceError: the server does not start, does not stay alive, or wants another secret; or a port is taken.
        PipelineError: a part of the service has ended; nothing is served half, the caller starts it again.
    """
    if alert_url:
        check_alert_url(alert_url)
        os.environ[ALERT_URL] = alert_url  # for the processes of runs too
    try:
        _serve(root, host, port)
    except BusyError:
        raise  # another process serves, which is no fault
    except PipelineError as error:
        # systemd tries again and again; somebody should know.
        send_alert(root, _START, f"the service cannot run: {error}")
        raise


def _serve(root: Path, host: str, port: int) -> None:
    params = load_params(root)
    log_in = ""
    # Flow runs end with the service, however it ends.
    os.environ.update(supervised())
    vital = VitalThreads()
    with ExitStack() as stack:
        stack.enter_context(service_lock(root))
        is_own_server = not PREFECT_API_URL.value()
        watch = Watch(root, params, server_log(root) if is_own_server else None)
        pages = served_pages(root, params.active, host, port + 1, vital, watch.health)
        os.environ[PAGES] = stack.enter_context(pages)
        if is_own_server:
            os.environ["PREFECT_API_URL"] = stack.enter_context(embedded_server(root, host, port, vital))
            os.environ["PREFECT_API_AUTH_STRING"] = own_secret(root)
            log_in = f" (log in with the line in {secret_file(root)})"
            # For all threads, that of the poller included.
            refresh_global_settings_context()
        elif not PREFECT_API_KEY.value() and (
            warning := require_access(PREFECT_API_URL.value(), PREFECT_API_AUTH_STRING.value())
        ):
            print(f"facets: {warning}", file=sys.stderr)
        server = PREFECT_API_URL.value()
        stack.enter_context(noted(root, server, os.environ[PAGES], is_own_server))
        # Schedules stay as they are while the service is down: the next start finds them.
        entrypoints: dict[UUID, str | None] = {}
        starter = functools.partial(Starter, entrypoints)
        runner_module.EngineCommandStarter = starter  # pyright: ignore[reportAttributeAccessIssue, reportPrivateImportUsage]
        runner_module.ScheduledRunPoller = LatestRunPoller  # pyright: ignore[reportPrivateImportUsage]
        runner_module.load_flow_from_flow_run = functools.partial(known_flow, entrypoints)  # pyright: ignore[reportPrivateImportUsage]
        runner = _Runner(name="facets", limit=_RUNS_AT_ONCE, pause_on_shutdown=False, query_seconds=2.0)
        entrypoints.update(register(root, params, functools.partial(_add, runner), is_own_server))
        stop = threading.Event()
        poller = InboxPoller(root, params, params.active)
        for name, look in (("the inbox poller", poller.run), ("the watch", watch.run)):
            thread = vital.start(name, look, stop)
            stack.callback(thread.join, _SECONDS_TO_END)
        stack.callback(stop.set)
        end_alerts(root, lambda key: key == _START)
        names = f"{', '.join(params.active)} as {repository_name(root)}"
        # In one write: a program that waits for the first line has all of it then.
        print(
            f"serving {names}; Prefect at {server.removesuffix('/api')}{log_in}\n"
            f"pages of the experiments at {os.environ[PAGES]}/, how the service is at {os.environ[PAGES]}{HEALTH}",
            flush=True,
        )
        with suppress(KeyboardInterrupt):
            asyncio.run(runner.serve(vital))


def _add(runner: Runner, deployment: object) -> UUID:
    return runner.add_deployment(deployment, _sync=True)  # pyright: ignore[reportCallIssue, reportArgumentType, reportReturnType]
