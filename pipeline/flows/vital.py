"""Threads that the service cannot do without: it ends when one of them ends, and its supervisor starts it again."""

import threading
from collections.abc import Callable
from typing import Any

from pipeline.core.errors import PipelineError, ResourceError


class VitalThreads:
    """Threads that are to run until they are told to stop."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._faults: dict[threading.Thread, BaseException] = {}

    def start(self, what: str, target: Callable[..., Any], *arguments: Any) -> threading.Thread:
        """Start one.

        Args:
            what: it does, for messages: ``"the inbox poller"``.
            target: runs until it is told to stop; to end earlier is a fault, by an exception or without.
            arguments: of ``target``.
        """

        def run() -> None:
            try:
                target(*arguments)
            except BaseException as error:  # noqa: BLE001 - whatever it is, the service ends and says it
                self._faults[thread] = error

        # As a daemon: it may just be waiting minutes for a server that is away.
        thread = threading.Thread(target=run, name=what, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def require_alive(self) -> None:
        """Tell whether all of them run.

        Raises:
            PipelineError: one has ended; its own error if that was a deliberate one.
        """
        for thread in self._threads:
            if not thread.is_alive():
                fault = self._faults.get(thread)
                if isinstance(fault, PipelineError):
                    raise fault
                why = f"{type(fault).__name__}: {fault}" if fault else "it returned"
                raise ResourceError(f"{thread.name} must run as long as the service, but it ended ({why}); start again")
