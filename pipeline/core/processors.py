"""How many processors this process may use."""

import os


def n_processors() -> int:
    """Return the number of processors that the process is allowed, where the system tells; all of them elsewhere."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
