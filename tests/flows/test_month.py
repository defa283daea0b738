"""A month of the service in minutes: deliveries, bad files, retrainings, changed parameters, kills. In `make soak`."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from benchmarks.machine import describe_machine
from tests.flows.conftest import Receiver
from tests.flows.service import Service, wait_until
from tests.operations.tiny import new_images
from tests.repository import PROJECT, Repository

N_BATCHES = int(os.environ.get("MONTH_BATCHES", "200"))
N_FILES, N_BAD = 20, 2
N_RETRAININGS, N_CHANGES, N_KILLS = 3, 2, 5

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0), pytest.mark.xdist_group("service")]


@pytest.fixture
def month(template: Repository, receiver: Receiver, tmp_path: Path) -> Iterator[Service]:
    """A service with a policy that asks for the retrainings."""
    repository = template.copy(tmp_path / "repository")
    per_training = N_BATCHES * (N_FILES - N_BAD) // (N_RETRAININGS + 1)
    repository.edit_params(lambda sections: sections["schedule"].update(retrain_new_images=per_training))
    served = Service(repository, receiver.url)
    try:
        served.start()
        yield served
    finally:
        served.stop()


def test_a_month(month: Service, tmp_path: Path) -> None:
    generator = np.random.default_rng(30)
    events = plan(generator)
    ledger: dict[str, Any] = {"n_source": month.n_rows(), "delivered": []}
    started = time.monotonic()
    first = size_of(month)
    done: dict[str, int] = {}
    for number in range(N_BATCHES):
        ledger["delivered"] += deliver(month, number)
        for event in events.get(number, []):
            done[event] = done.get(event, 0) + 1
            carry_out(month, event, number, generator)
        wait_until(
            lambda: waiting(month) <= 3, 600
        )  # a service that is down for long would not be a month but a backlog
    wait_until(lambda: waiting(month) == 0, 1200)
    wait_until(lambda: len(month.processes()) == 2, 1200)
    month.finish("rebuild")
    path = tmp_path / "ledger.json"
    path.write_text(json.dumps(ledger))
    script = str(Path(__file__).with_name("verify.py"))
    verified = subprocess.run(
        [sys.executable, script, str(month.layout.published), str(path)], capture_output=True, text=True, check=False
    )
    assert verified.returncode == 0, verified.stderr
    last = size_of(month)
    month.finish("tidy")
    assert month.n_rows() == ledger["n_source"] + len(ledger["delivered"])
    result = {
        "command": "make soak" if N_BATCHES == 200 else f"MONTH_BATCHES={N_BATCHES} make soak",
        "batches": N_BATCHES,
        "files": N_BATCHES * N_FILES,
        "bad_files": N_BATCHES * N_BAD,
        "events": dict(sorted(done.items())),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "verified_by_script": json.loads(verified.stdout),
        "mebibytes_before": first,
        "mebibytes_after": last,
        "runs": {flow: len(month.runs(flow)) for flow in ("ingest", "rebuild", "retrain", "tidy")},
        "machine": describe_machine(),
    }
    (PROJECT / "benchmarks" / "results" / "month.json").write_text(json.dumps(result, indent=2) + "\n")


def plan(generator: np.random.Generator) -> dict[int, list[str]]:
    """Return what happens with which delivery, besides it."""
    events: dict[int, list[str]] = {}
    for k in range(N_RETRAININGS):
        # By then the policy's number of new images has come in.
        events.setdefault(min(N_BATCHES - 1, (k + 1) * N_BATCHES // (N_RETRAININGS + 1) + 3), []).append("retraining")
    for k in range(N_CHANGES):
        events.setdefault((2 * k + 1) * N_BATCHES // (2 * N_CHANGES), []).append("change")
    for number in generator.choice(N_BATCHES, N_KILLS, replace=False):
        events.setdefault(int(number), []).append("kill")
    return events


def deliver(service: Service, number: int) -> list[str]:
    """Put a folder with good and bad files into the inbox; return the names of the good ones, unlike any other's."""
    folder = service.deliver(f".batch-{number:03d}", new_images(N_FILES, seed=1000 + number))
    names: list[str] = []
    for place, file in enumerate(sorted(folder.glob("*.png"))):
        target = file.rename(file.with_name(f"{number:03d}-{file.name}"))
        if place < N_BAD:
            target.write_bytes(target.read_bytes()[: 10 + 20 * place])
        else:
            names.append(target.name)
    folder.rename(folder.with_name(folder.name.removeprefix(".")))
    return names


def carry_out(service: Service, event: str, number: int, generator: np.random.Generator) -> None:
    if event == "change":
        service.repository.edit_params(lambda sections: sections["assign"].update(batch_size=512 + number))
        service.start_run("rebuild")
    elif event == "retraining":
        wait_until(lambda: waiting(service) == 0, 1200)
        kind, message = service.wait(service.start_run("retrain"), 1200)
        assert (kind, "because" in message) == ("COMPLETED", True), message
    else:
        time.sleep(generator.uniform(0, 5))
        victim = ["service", "prefect.engine", "pipeline.cli", "flows.guard"][generator.integers(4)]
        found = service.processes(*victim.split()) if victim != "service" else []
        if found:
            found[generator.integers(len(found))].kill()
        else:
            service.kill()
            wait_until(lambda: not service.processes())
        if not service.is_alive():
            wait_until(lambda: not service.processes())
            service.start()


def waiting(service: Service) -> int:
    """Return how many deliveries lie in the inbox."""
    return sum(path.name.startswith("batch-") for path in service.layout.inbox.iterdir())


def size_of(service: Service) -> dict[str, float]:
    """Return resident memory of service and server, and the size of Prefect's database."""
    (server,) = service.processes("flows.guard")
    home = service.root / ".work" / "prefect"
    return {
        "service": round(psutil.Process(service.pid).memory_info().rss / 2**20, 1),
        "server": round(server.memory_info().rss / 2**20, 1),
        "database": round(sum(path.stat().st_size for path in home.glob("prefect.db*")) / 2**20, 1),
    }
