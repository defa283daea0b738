"""Several seeds at once on one processor: each on threads of its own, as many as share the processor evenly.

A step of a small network is too short to be shared: two threads make it half as fast again, two seeds twice as fast.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class _Call(Generic[Item, Result]):
    """One item's work, in a thread."""

    work: Callable[[Item], Result]
    item: Item
    n_threads: int
    results: list[Result] = field(default_factory=list)
    error: BaseException | None = None

    def run(self) -> None:
        torch.set_num_threads(self.n_threads)  # of this thread alone
        try:
            self.results.append(self.work(self.item))
        except BaseException as error:  # noqa: BLE001 - raised again where the work was asked for
            self.error = error


def run_in_rounds(work: Callable[[Item], Result], items: Sequence[Item], n_threads: int) -> list[Result]:
    """Do the same work for every item, ``n_threads`` at a time, and return the results in order.

    An item that fails does not stop those of its round; the first error is raised when they have ended. The last round
    may have fewer items, with more threads for each.

    Args:
        work: what to do. With one item a round it runs in this thread.
        items: what to do it for.
        n_threads: threads that may compute at the same time.
    """
    results: list[Result] = []
    for start in range(0, len(items), n_threads):
        some = items[start : start + n_threads]
        calls = [_Call(work, item, n_threads // len(some)) for item in some]
        if len(calls) == 1:
            calls[0].run()
        else:
            # Daemons: a stage that is told to end does not wait for them, as every seed has its resume file.
            threads = [threading.Thread(target=call.run, name=f"seed-{i}", daemon=True) for i, call in enumerate(calls)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        for call in calls:
            if call.error is not None:
                raise call.error
            results += call.results
    torch.set_num_threads(n_threads)
    return results
