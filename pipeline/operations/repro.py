"""The DVC stages of one experiment: which are stale and why, and running them."""

import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event
from typing import Any

from pipeline.config.dag import stage_names
from pipeline.config.resolved import write_resolved
from pipeline.config.stage_code import CODE_FILE
from pipeline.core.layout import Layout
from pipeline.operations.dvc import run_dvc
from pipeline.operations.known_status import dvc_status
from pipeline.operations.locks import HeldLock
from pipeline.operations.stage_server import stage_server

_RUNNING = re.compile(r"Running stage '([^'@]+)@([^']+)'")
_RESTORED = re.compile(r"Stage '([^'@]+)@[^']+' is cached - skipping run")
_SHOWN = 4


@dataclass(frozen=True)
class StageRun:
    """What became of one stage in a rebuild.

    Attributes:
        stage: its name.
        action: ``ran``; ``restored`` from DVC's cache of earlier runs; or ``unchanged``.
        reason: why it ran, for people; empty where it did not.
        seconds: how long it ran.
    """

    stage: str
    action: str
    reason: str
    seconds: float


def stale_stages(layout: Layout, held: HeldLock) -> dict[str, str]:
    """Return why each stage of an experiment would run now; a stage that only follows a stale one is not listed.

    What stage resolve writes is written first: of a changed parameter DVC then names the stages that read it.

    Raises:
        as :func:`pipeline.operations.dvc.run_dvc`.
    """
    write_resolved(layout)
    status = dvc_status(layout, _targets(layout), held)
    return {name.split("@")[0]: _reason(changes) for name, changes in status.items()}


def reproduce(
    layout: Layout,
    stale: Mapping[str, str],
    held: HeldLock,
    on_line: Callable[[str], None] | None = None,
    cancel: Event | None = None,
) -> tuple[StageRun, ...]:
    """Run the stale stages of an experiment and what their results change; with nothing stale DVC is not started.

    Args:
        layout: paths of the experiment.
        stale: from :func:`stale_stages`.
        held: the repository lock.
        on_line: called with every line that DVC and the stages print.
        cancel: when set by another thread, the run is ended.

    Raises:
        as :func:`pipeline.operations.dvc.run_dvc`.
    """
    watch = _Watch(on_line)
    if stale:
        with stage_server(layout.root) as python:
            run_dvc(layout.root, ["repro", *_targets(layout)], held, watch.see, cancel, python)
    return tuple(watch.run_of(stage, stale.get(stage, "")) for stage in stage_names(layout.root))


def reproduce_stage(
    layout: Layout,
    stage: str,
    reason: str,
    held: HeldLock,
    on_line: Callable[[str], None] | None = None,
    python: str = sys.executable,
) -> StageRun:
    """Run one stage if it is stale, those before and after it apart.

    Args:
        layout: paths of the experiment.
        stage: its name.
        reason: why it is stale, as :func:`stale_stages` says; empty if only an earlier stage may have made it so.
        held: the repository lock.
        on_line: called with every line that DVC and the stage print.
        python: that the stage is started by, as :func:`pipeline.operations.stage_server.stage_server` gives one.

    Raises:
        as :func:`pipeline.operations.dvc.run_dvc`.
    """
    watch = _Watch(on_line)
    run_dvc(layout.root, ["repro", "--single-item", f"{stage}@{layout.experiment}"], held, watch.see, python=python)
    return watch.run_of(stage, reason)


class _Watch:
    """Reads from DVC's lines which stage runs and for how long."""

    def __init__(self, on_line: Callable[[str], None] | None) -> None:
        self._on_line = on_line
        self._actions: dict[str, str] = {}
        self._seconds: dict[str, float] = {}
        self._running: str | None = None
        self._since = 0.0

    def run_of(self, stage: str, reason: str) -> StageRun:
        """Return what became of a stage, once DVC has ended; without a reason an earlier stage made it stale."""
        self._stop()
        action = self._actions.get(stage, "unchanged")
        why = "" if action == "unchanged" else reason or "an earlier stage changed its inputs"
        return StageRun(stage, action, why, round(self._seconds.get(stage, 0.0), 1))

    def see(self, line: str) -> None:
        """Take one line, and pass it on."""
        running, restored = _RUNNING.search(line), _RESTORED.search(line)
        if running or line.startswith("Stage '"):
            self._stop()
        if running:
            self._running, self._since = running[1], time.monotonic()
            self._actions[running[1]] = "ran"
        elif restored:
            self._actions[restored[1]] = "restored"
        if self._on_line is not None:
            self._on_line(line)

    def _stop(self) -> None:
        if self._running:
            self._seconds[self._running] = time.monotonic() - self._since
        self._running = None


def _targets(layout: Layout) -> list[str]:
    return [f"{stage}@{layout.experiment}" for stage in stage_names(layout.root)]


def _reason(changes: list[Any]) -> str:
    """Return one line from DVC's nested account of what differs from ``dvc.lock``."""
    found: dict[str, Any] = {}
    for change in changes:
        found |= change if isinstance(change, dict) else {}
    # Parameters are new as a file where the stage ran with an earlier release, too; then its outputs are known.
    if "new" in found.get("changed deps", {}).values() and "changed outs" in found:
        return "it has not run yet"
    parts: list[str] = []
    for change in changes:
        if not isinstance(change, dict):
            parts.append(str(change))  # such as "changed command"
            continue
        for kind, entries in change.items():
            for path, state in entries.items():
                if path == CODE_FILE:
                    parts.append("code of the library modified")
                elif isinstance(state, dict):
                    parts.extend(f"parameter {name} {what}" for name, what in state.items())
                else:
                    parts.append(f"{'output' if kind == 'changed outs' else 'input'} {path} {state}")
    rest = f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    return ", ".join(parts[:_SHOWN]) + rest
