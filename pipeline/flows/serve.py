"""The service: deployments with their schedules, a runner that executes runs in processes, and the inbox poller."""

import asyncio
import os
import threading
from contextlib import ExitStack
from pathlib import Path

import psutil
from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL, temporary_settings

from pipeline.config import load_params
from pipeline.flows.alert import register_alert
from pipeline.flows.deployments import deployments_of
from pipeline.flows.poller import InboxPoller
from pipeline.flows.server import embedded_server
from stages._entry import SUPERVISOR

_RUNS_AT_ONCE = 8


def serve(root: Path, host: str, port: int, alert_url: str | None = None) -> None:
    """Serve all active experiments until interrupted.

    Args:
        root: of the repository.
        host: address of the embedded server; without meaning where ``PREFECT_API_URL`` names another server.
        port: likewise.
        alert_url: receives a POST when a model is refused.

    Raises:
        ConfigError: params.yaml breaks a rule.
        ResourceError: the server does not start.
    """
    params = load_params(root)
    this = psutil.Process()
    # Flow runs end with the service, however it ends.
    os.environ[SUPERVISOR] = f"{this.pid} {this.create_time()}"
    with ExitStack() as stack:
        if not PREFECT_API_URL.value():
            url = stack.enter_context(embedded_server(root, host, port))
            stack.enter_context(temporary_settings({PREFECT_API_URL: url}))
            os.environ["PREFECT_API_URL"] = url
        if alert_url:
            register_alert(alert_url)
        # Schedules stay as they are while the service is down: the next start finds them.
        runner = Runner(name="facets", limit=_RUNS_AT_ONCE, pause_on_shutdown=False, query_seconds=2.0)
        for deployment in deployments_of(params):
            runner.add_deployment(deployment, _sync=True)  # pyright: ignore[reportCallIssue]
        stop = threading.Event()
        poller = threading.Thread(target=InboxPoller(root, params, params.active).run, args=(stop,), name="inbox")
        poller.start()
        stack.callback(poller.join)
        stack.callback(stop.set)
        print(
            f"serving {', '.join(params.active)}; Prefect at {PREFECT_API_URL.value().removesuffix('/api')}", flush=True
        )
        asyncio.run(runner.start())
