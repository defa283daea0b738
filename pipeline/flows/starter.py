"""How the service starts the process of a flow run."""

import shlex
import sys
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import anyio
import anyio.abc
from prefect.client.schemas.objects import FlowRun
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.runner._starter_engine import EngineCommandStarter

# As Prefect starts a run, but one that ends with the service from its first moment: asking for a server that is gone,
# it would wait for minutes. In a session of its own: its end must not reach what started the service. Prefect loads so
# many modules that looking for garbage among them as often as usual takes a sixth of a run's start.
_RUN = (
    "import gc, os, runpy; gc.set_threshold(100_000); os.setsid(); "
    "from pipeline.core.supervision import end_with_supervisor; end_with_supervisor(); "
    "runpy.run_module('prefect.engine', run_name='__main__')"
)


async def known_flow(entrypoints: Mapping[UUID, str | None], flow_run: FlowRun, **_: Any) -> Flow[..., Any]:
    """Return a run's flow, whose hooks are called when its process has died, as :class:`Starter` would start it.

    Prefect would ask the server for the entrypoint, and run pull steps in the service's own process.
    """
    assert flow_run.deployment_id is not None, "the runner asks for runs of its deployments alone"
    return load_flow_from_entrypoint(entrypoints[flow_run.deployment_id] or "")


class Starter(EngineCommandStarter):
    """Starts the flow that this service knows for a deployment, whatever the server says that it should be.

    A deployment can be changed through the API: an entrypoint elsewhere, or pull steps, which are shell scripts that
    run before the flow. A run whose entrypoint is given from here looks at neither.

    Args:
        entrypoints: of the flows, by deployment.
        given: what Prefect's runner gives to a starter.
    """

    def __init__(self, entrypoints: Mapping[UUID, str | None], **given: Any) -> None:
        super().__init__(command=shlex.join([sys.executable, "-c", _RUN]), **given)
        self._entrypoints = entrypoints

    async def start(
        self, flow_run: FlowRun, task_status: anyio.abc.TaskStatus[Any] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Start one run and wait for its end."""
        assert flow_run.deployment_id is not None, "the runner asks for runs of its deployments alone"
        self._entrypoint = self._entrypoints[flow_run.deployment_id]
        await super().start(flow_run, task_status)
