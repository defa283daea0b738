"""Two processes that train together as under torchrun, and the comparison with one."""

import multiprocessing
import os
import socket
from functools import partial

import torch

from pipeline.model.checkpoint import seed_state
from pipeline.training.process_group import ALONE, join_process_group


def in_processes(work, *arguments):
    """Run ``work`` in two processes that find each other as under torchrun.

    They start from a process without threads: a copy of the tests' own could inherit a lock that a thread holds, of
    autograd or of Prefect, and wait for it forever.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipeline.training.engine"])  # torch is loaded once, not by each
    started = [context.Process(target=_join, args=(rank, port, work, *arguments)) for rank in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0, 0]


def _join(rank, port, work, *arguments):
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms, the same, would import the compiler
    work(*arguments)


def save_steps(engine, processes, path):
    """Train to the end; the process that leads saves what every step recorded, and the first seed's state."""
    record = torch.cat([torch.from_numpy(engine.run(chunk)) for chunk in engine.schedule.chunks()])
    if processes.leads:
        torch.save({"record": record, **seed_state(engine.model, 0)}, path)


def _together(run_steps, path):
    with join_process_group() as processes:
        assert processes.size == 2
        run_steps(processes, path)


def assert_two_processes_do_as_one(run_steps, folder, rtol, atol):
    """Call ``run_steps(processes, path)`` alone and in two processes, compare what it saves; return the steps made."""
    run_steps(ALONE, folder / "one.pt")
    in_processes(partial(_together, run_steps), folder / "two.pt")
    one, two = (torch.load(folder / f"{name}.pt") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=rtol, atol=atol, msg=name)
    return len(one["record"])
