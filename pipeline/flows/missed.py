"""Scheduled runs that nobody executed in time: the newest one of a schedule does the work of all.

While the machine sleeps or the service is down, runs go on coming due. Executed one after the other later, all but the
first would find nothing to do, and whatever else is due would wait behind them.
"""

import json
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.runner._scheduled_run_poller import ScheduledRunPoller
from prefect.states import Cancelled

SKIPPED = "Skipped"
"""Name of the state of a missed run whose work a later one does."""


class LatestRunPoller(ScheduledRunPoller):
    """Asks the server what is to be executed, and ends missed runs that a later one makes needless.

    Prefect knows no such rule for runs that no work pool gets: a limit of one run at a time, with newer ones cancelled,
    would cancel what people start by hand too.
    """

    async def _get_scheduled_flow_runs(self) -> list[FlowRun]:
        ended: set[UUID] = set()
        while True:  # the server names the oldest 200 at a time
            runs = await super()._get_scheduled_flow_runs()
            needless = [run for run in needless_runs(runs, self._submitting_flow_run_ids) if run.id not in ended]
            if not needless:
                return [run for run in runs if run.id not in ended]
            for run in needless:
                state = Cancelled(name=SKIPPED, message="missed; a later run of the same schedule does its work")
                with suppress(ObjectNotFound):
                    await self._client.set_flow_run_state(run.id, state)
                ended.add(run.id)
            self._logger.warning("%d missed runs are skipped, a later one does their work", len(needless))


def needless_runs(runs: Collection[FlowRun], started: Collection[UUID]) -> list[FlowRun]:
    """Return the runs that are overdue though a later one, of the same deployment and parameters, is due as well.

    Args:
        runs: from the server. Those that a person asked for are none of these, whatever is due beside them.
        started: ids of runs that are being started just now.
    """
    now = datetime.now(UTC)
    overdue: dict[tuple[UUID | None, str], list[FlowRun]] = {}
    for run in runs:
        due = run.next_scheduled_start_time
        is_waiting = run.auto_scheduled and run.start_time is None and run.id not in started
        if is_waiting and due is not None and due <= now:
            overdue.setdefault((run.deployment_id, json.dumps(run.parameters, sort_keys=True, default=str)), []).append(
                run
            )
    return [
        run
        for same in overdue.values()
        for run in sorted(same, key=lambda run: (run.next_scheduled_start_time, run.id))[:-1]
    ]
