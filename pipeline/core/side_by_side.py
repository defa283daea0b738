"""Several seeds at once on one processor: each on threads of its own, as many as share the processor evenly.

A step of a small network is too short to be shared: two threads make it half as fast again, two seeds twice as fast.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_in_rounds(work: Callable[[Item], Result], items: Sequence[Item], at_once: int) -> list[Result]:
    """Do the same work for every item, ``at_once`` at a time, and return the results in order.

    The items of a round share torch's threads; rounds are of one size as nearly as they can be, and fewer items have
    more threads each. An item that fails does not stop those of its round; the first error is raised when they have
    ended.

    Args:
        work: what to do. An item that is alone in its round is done in this thread.
        items: what to do it for.
        at_once: most items of a round.
    """
    n_threads = torch.get_num_threads()
    results: list[Result] = []
    n_rounds = max(1, -(-len(items) // at_once))
    at_once = max(1, -(-len(items) // n_rounds))
    for start in range(0, len(items), at_once):
        some = items[start : start + at_once]
        if len(some) == 1:
            results.append(work(some[0]))
        else:
            results += _side_by_side(work, some, max(1, n_threads // len(some)))
        torch.set_num_threads(n_threads)  # the work may have asked for fewer
    return results


def _side_by_side(work: Callable[[Item], Result], items: Sequence[Item], n_threads: int) -> list[Result]:
    # torch's number of threads belongs to the thread that sets it.
    pool = ThreadPoolExecutor(len(items), "seed", initializer=torch.set_num_threads, initargs=(n_threads,))
    try:
        futures = [pool.submit(work, item) for item in items]
        wait(futures)
        return [future.result() for future in futures]
    finally:
        # A stage that is told to end does not wait for its seeds: each has its resume file.
        pool.shutdown(wait=False, cancel_futures=True)
