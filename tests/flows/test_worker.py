"""A Prefect worker in place of the service's own runner (deploy/prefect.yaml), on a server that wants a secret."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.flows.access import read_secret
from tests.flows.service import PATIENCE, Service
from tests.repository import EXPERIMENT

pytestmark = pytest.mark.xdist_group("service")

POOL = "facets"


def work(service: Service, home: Path, secret: str) -> subprocess.CompletedProcess[str]:
    """Let a worker look for work once, and do what there is."""
    settings = {
        "PREFECT_API_URL": service.api,
        "PREFECT_API_AUTH_STRING": secret,
        "PREFECT_HOME": str(home),
        "FACETS_ROOT": str(service.root),
    }
    prefect = Path(sys.executable).with_name("prefect")
    return subprocess.run(
        [prefect, "worker", "start", "--pool", POOL, "--type", "process", "--run-once", "--install-policy", "never"],
        cwd=service.root,
        env={**os.environ, **settings},
        timeout=PATIENCE,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def run_id(service: Service) -> Iterator[str]:
    """A run of a rebuild that waits for a worker."""
    service.ask("/work_pools/", name=POOL, type="process")
    deployment = service.ask(
        "/deployments/",
        name=service.deployment_name.replace(EXPERIMENT, "by-a-worker"),  # runs of other repositories are refused
        flow_id=service.ask("/flows/", name="rebuild")["id"],
        entrypoint="pipeline.flows.rebuild.rebuild",
        parameters={"experiment": EXPERIMENT},
        work_pool_name=POOL,
    )
    yield service.ask(f"/deployments/{deployment['id']}/create_flow_run", state={"type": "SCHEDULED"})["id"]
    service.remove(f"/deployments/{deployment['id']}")
    service.remove(f"/work_pools/{POOL}")


@pytest.mark.soak
def test_without_the_secret_a_worker_gets_no_work(service: Service, run_id: str, tmp_path: Path) -> None:
    done = work(service, tmp_path, "facets:a guess of mine")
    assert "401" in done.stdout + done.stderr
    assert service.run(run_id)["state_type"] == "SCHEDULED"


@pytest.mark.no_cover  # it happens in other processes
def test_a_worker_runs_a_flow(service: Service, run_id: str, tmp_path: Path) -> None:
    done = work(service, tmp_path, read_secret(service.root))
    assert done.returncode == 0, done.stdout + done.stderr
    assert service.run(run_id)["state_type"] == "COMPLETED", service.logs(run_id)
