"""kill -9 of a stage, a run, the Prefect server and the service, while a rebuild and an ingestion are under way."""

import json
import time
from collections import Counter

import numpy as np
import psutil
import pytest

from benchmarks.machine import describe_machine
from tests.flows.service import Service, wait_until
from tests.operations.tiny import new_images
from tests.repository import PROJECT

pytestmark = pytest.mark.xdist_group("service")

N_IMAGES = 25


@pytest.mark.no_cover  # it happens in other processes
@pytest.mark.soak
@pytest.mark.timeout(0)
def test_whatever_dies_nothing_is_lost_and_nobody_cleans_up(service: Service) -> None:
    generator, n_rounds = np.random.default_rng(10), 10
    killed: list[str] = []
    for number in range(n_rounds):
        killed += one_round(service, generator, new_images(N_IMAGES, seed=100 * n_rounds + number), 700 + number)
    # A process may end in the moment between being found and being killed.
    assert len(killed) >= 4 * n_rounds - 1
    found = service.ask("/deployments/filter")
    assert sum(s["active"] for d in found for s in d["schedules"]) == 3
    assert not [path for path in service.layout.batches.iterdir() if path.name.startswith(".")]
    result = {
        "command": "make soak",
        "killed": dict(Counter(killed)),
        "images_before": 120,
        "images_after": service.n_rows(),
        "machine": describe_machine(),
    }
    (PROJECT / "benchmarks" / "results" / "kills-service.json").write_text(json.dumps(result, indent=2) + "\n")


def one_round(service: Service, generator: np.random.Generator, images: np.ndarray, batch_size: int) -> list[str]:
    """Kill one of each while a rebuild and an ingestion are under way, start again, and return what was killed."""
    before = service.n_rows()
    expected = before + len(images)
    service.deliver(f"kills-{batch_size}", images)
    service.repository.edit_params(lambda sections: sections["assign"].update(batch_size=batch_size))
    service.start_run("rebuild")
    killed = ["stage"] * kill(service, generator, 1.0, "-m", "pipeline.stages.")
    killed += ["run"] * kill(service, generator, 4.0, "prefect.engine")
    service.start_run("rebuild")
    killed += ["server"] * kill(service, generator, 4.0, "flows.guard")
    time.sleep(generator.uniform(0, 6))
    service.kill()
    assert service.n_rows() in (before, expected)
    wait_until(lambda: not service.processes())
    service.start()
    service.finish("rebuild")
    wait_until(lambda: service.n_rows() == expected)
    wait_until(lambda: len(service.processes()) == 2)  # the service and its server: no run is left
    states = {run["state_type"] for flow in ("ingest", "rebuild") for run in service.runs(flow)}
    assert states <= {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
    assert not [path for path in service.layout.inbox.iterdir() if path.name.startswith("kills")]
    return [*killed, "service"]


def kill(service: Service, generator: np.random.Generator, longest: float, *words: str) -> bool:
    """Wait for a process, then a random while, then kill it or another such one."""
    wait_until(lambda: service.processes(*words))
    time.sleep(generator.uniform(0, longest))
    found = wait_until(lambda: service.processes(*words))
    try:
        found[generator.integers(len(found))].kill()
    except psutil.NoSuchProcess:
        return False
    return True
