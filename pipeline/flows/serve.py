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
from pipeline.errors import ResourceError
from pipeline.flows.access import own_secret, require_access, secret_file
from pipeline.flows.alert import register_alert
from pipeline.flows.deployments import deployments_of
from pipeline.flows.lost import close_lost_runs
from pipeline.flows.pages import PAGES, served_pages
from pipeline.flows.poller import InboxPoller
from pipeline.flows.server import embedded_server
from pipeline.flows.starter import Starter
from pipeline.flows.vital import VitalThreads
from pipeline.operations.locks import service_lock
from pipeline.supervision import supervised

_RUNS_AT_ONCE = 8
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_TO_END = 5.0


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
        alert_url: receives a POST when a model is refused.

    Raises:
        ConfigError: params.yaml breaks a rule.
        BusyError: another process serves this repository.
        ResourceError: the server does not start, does not stay alive, or wants another secret; or a port is taken.
        PipelineError: a part of the service has ended; nothing is served half, the caller starts it again.
    """
    params = load_params(root)
    log_in = ""
    # Flow runs end with the service, however it ends.
    os.environ.update(supervised())
    vital = VitalThreads()
    with ExitStack() as stack:
        stack.enter_context(service_lock(root))
        os.environ[PAGES] = stack.enter_context(served_pages(root, params.active, host, port + 1, vital))
        if not PREFECT_API_URL.value():
            os.environ["PREFECT_API_URL"] = stack.enter_context(embedded_server(root, host, port, vital))
            os.environ["PREFECT_API_AUTH_STRING"] = own_secret(root)
            log_in = f" (log in with the line in {secret_file(root)})"
            # For all threads, that of the poller included.
            refresh_global_settings_context()
        elif not PREFECT_API_KEY.value() and (
            warning := require_access(PREFECT_API_URL.value(), PREFECT_API_AUTH_STRING.value())
        ):
            print(f"facets: {warning}", file=sys.stderr)
        if alert_url:
            register_alert(alert_url)
        # Schedules stay as they are while the service is down: the next start finds them.
        entrypoints: dict[UUID, str | None] = {}
        starter = functools.partial(Starter, entrypoints)
        runner_module.EngineCommandStarter = starter  # pyright: ignore[reportAttributeAccessIssue, reportPrivateImportUsage]
        runner = _Runner(name="facets", limit=_RUNS_AT_ONCE, pause_on_shutdown=False, query_seconds=2.0)
        entrypoints.update((_add(runner, deployment), deployment.entrypoint) for deployment in deployments_of(params))
        close_lost_runs(entrypoints)
        stop = threading.Event()
        poller = vital.start("the inbox poller", InboxPoller(root, params, params.active).run, stop)
        stack.callback(poller.join, _SECONDS_TO_END)
        stack.callback(stop.set)
        pages = PREFECT_API_URL.value().removesuffix("/api")
        print(f"serving {', '.join(params.active)}; Prefect at {pages}{log_in}", flush=True)
        with suppress(KeyboardInterrupt):
            asyncio.run(runner.serve(vital))


def _add(runner: Runner, deployment: object) -> UUID:
    return runner.add_deployment(deployment, _sync=True)  # pyright: ignore[reportCallIssue, reportArgumentType, reportReturnType]
