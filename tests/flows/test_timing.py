"""How soon a delivery can be queried, with the service idle and during a training. In `make soak`: it wants quiet."""

import json
import os
import time

import pytest

from benchmarks.machine import describe_machine
from tests.flows.service import Service, wait_until
from tests.operations.tiny import new_images
from tests.repository import PROJECT

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0), pytest.mark.xdist_group("service")]

N_FILES = 1000
MOST_SECONDS = 20.0


def seconds_to_rows(service: Service, name: str, seed: int) -> float:
    """Deliver 1,000 PNG files and return after how many seconds SQL finds them."""
    before = service.n_rows()
    images = new_images(N_FILES, seed=seed)
    folder = service.deliver(f".{name}", images)
    start = time.monotonic()
    folder.rename(service.layout.inbox / name)
    wait_until(lambda: service.n_rows() == before + N_FILES, 600)
    return round(time.monotonic() - start, 1)


def test_a_thousand_files_are_rows_in_twenty_seconds(service: Service) -> None:
    idle = seconds_to_rows(service, "idle", 11)
    service.repository.edit_params(lambda sections: sections["train"]["phases"][1].update(epochs=20_000))
    run_id = service.start_run("rebuild")
    training = service.training()
    time.sleep(5)
    training_cpu = training.cpu_times().user
    beside = seconds_to_rows(service, "beside", 12)
    training_cpu = training.cpu_times().user - training_cpu
    service.cancel(run_id)
    cancelled = time.monotonic()
    wait_until(lambda: not service.processes("pipeline.stages.train"))
    result = {
        "command": "make soak",
        "what": f"{N_FILES} PNG files of 8×8 appear in the inbox as a whole: seconds until they are rows",
        "idle": idle,
        "during_a_training": beside,
        "training_cpu_seconds_meanwhile": round(training_cpu, 1),
        "cancelled_training_gone_after": round(time.monotonic() - cancelled, 1),
        "most_allowed": MOST_SECONDS,
        "load_average": round(os.getloadavg()[0], 1),
        "machine": describe_machine(),
    }
    (PROJECT / "benchmarks" / "results" / "inbox.json").write_text(json.dumps(result, indent=2) + "\n")
    assert max(idle, beside) <= MOST_SECONDS
