"""The service as it runs for a year, in minutes: a real server, real processes, real files."""

import json
import subprocess
import time
from collections.abc import Collection, Iterator
from typing import Any

import psutil
import pytest
import yaml

from tests.flows.conftest import Receiver
from tests.flows.service import Service, get, wait_until
from tests.operations.tiny import new_images
from tests.repository import EXPERIMENT

pytestmark = pytest.mark.xdist_group("service")


def stages_of(service: Service, run_id: str) -> list[str]:
    return [name for name in service.tasks(run_id) if name in ("preprocess", "init_mog", "train", "score", "assign")]


@pytest.mark.no_cover  # it happens in other processes
def test_everything_at_once(service: Service) -> None:
    """Two late rebuilds, a publish by hand, deliveries good, bad and unfinished: each is done, and once."""
    before = service.n_rows()
    service.deliver("first", new_images(40, seed=3))
    (service.layout.inbox / "bad.npy").write_bytes(b"no array")
    unfinished = service.layout.inbox / "unfinished"
    unfinished.mkdir()
    (unfinished / "0.png.part").write_bytes(b"")
    service.repository.edit_params(lambda sections: sections["assign"].update(batch_size=512))
    late = [service.start_run("rebuild") for _ in range(2)]
    by_hand = [*service.repository.facets_command, "publish", EXPERIMENT, "--wait", "250", "--json"]
    publish = subprocess.Popen(by_hand, cwd=service.root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    ends = [service.wait(run_id) for run_id in late]
    _, said = publish.communicate()
    assert (publish.returncode, {kind for kind, _ in ends}) == (0, {"COMPLETED"}), (said, ends)
    (did_it,) = [run_id for run_id in late if stages_of(service, run_id)]
    assert stages_of(service, did_it) == ["assign"]

    wait_until(lambda: service.n_rows() == before + 40)
    names = {f"ingest {EXPERIMENT} first": "40 new images", f"ingest {EXPERIMENT} bad.npy": "rejected"}
    runs = wait_until(lambda: ended(service, names))
    assert {run["name"]: run["state"]["message"].split(",")[0] for run in runs} == names
    (reason,) = (service.layout.inbox / "rejected").glob("*-bad.npy.reason.txt")
    assert "bad.npy" in reason.read_text()
    assert len(list((service.layout.inbox / "done").glob("*-first"))) == 1
    assert [path.name for path in unfinished.iterdir()] == ["0.png.part"]
    check_artifacts(service, did_it)


def ended(service: Service, names: Collection[str]) -> list[dict[str, Any]]:
    """Return the ingest runs of these names once all have ended well."""
    runs = [run for run in service.runs("ingest") if run["name"] in names and run["state_type"] == "COMPLETED"]
    return runs if len(runs) == len(names) else []


def check_artifacts(service: Service, run_id: str) -> None:
    artifacts = service.artifacts(run_id)
    assert "| assign | **ran** |" in artifacts["rebuild-tiny"]
    assert "| parameter assign modified |" in artifacts["rebuild-tiny"]
    assert artifacts["rebuild-tiny"].count("| unchanged |") == 5
    scores = json.loads(artifacts["scores-tiny"])
    assert [(row["facet"], row["factor"]) for row in scores] == [(j, f) for j in (0, 1) for f in ("shade", "shape")]
    page = f"http://127.0.0.1:{service.port + 1}"
    assert f"({page}/{EXPERIMENT})" in artifacts["page-tiny"]
    assert get(f"{page}/{EXPERIMENT}").content == (service.layout.published / "report.html").read_bytes()
    assert get(f"{page}/params.yaml").status_code == 404


def test_without_a_change_a_rebuild_is_less_than_a_second_of_work(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = service.start_run("rebuild")
    assert service.wait(run_id) == ("COMPLETED", "nothing has changed since the last rebuild")
    assert [name.partition("-")[0] for name in service.tasks(run_id)] == ["decide"]

    from pipeline.flows.rebuild import decide

    monkeypatch.setenv("FACETS_ROOT", str(service.root))
    start = time.process_time()
    assert decide.fn(EXPERIMENT) is False
    assert time.process_time() - start < 1  # of a processor: other tests run beside this one


@pytest.fixture
def _parameters_come_back(service: Service) -> Iterator[None]:
    """Leave the service's parameters as they were, also where the test fails: those behind it have the same service."""
    path = service.root / "params.yaml"
    original = path.read_text()
    yield
    path.write_text(original)


@pytest.mark.no_cover  # it happens in other processes
@pytest.mark.timeout(0)  # every wait in it has a limit of its own
@pytest.mark.usefixtures("_parameters_come_back")
def test_a_training_is_joined_by_a_batch_then_cancelled_then_resumed_then_refused(
    service: Service, receiver: Receiver
) -> None:
    """What people do to a long training, in the order in which it hurts most."""
    before, version = service.n_rows(), service.version()

    def spoil(sections: dict) -> None:
        sections["seeds"] = [0]
        sections["train"]["phases"][1]["epochs"] = 160
        sections["train"]["checkpoint_seconds"] = 0.3
        sections["publish"]["gate"]["min_confidence"] = 1.0

    service.repository.edit_params(spoil)
    run_id = service.start_run("rebuild")
    training = service.training()
    training.suspend()  # a training of hours
    service.deliver("second", new_images(30, seed=4))
    wait_until(lambda: service.n_rows() == before + 30)
    training.resume()
    wait_until(lambda: list((service.root / ".work" / EXPERIMENT).glob("train-*/*.pt")))
    assert training.is_running()

    service.cancel(run_id)
    cancelled = time.monotonic()
    wait_until(lambda: not service.processes("pipeline.stages.train") and not service.processes("dvc", "repro"))
    assert time.monotonic() - cancelled < 10
    wait_until(lambda: service.run(run_id)["state_type"] == "CANCELLED")

    again = service.start_run("rebuild")
    kind, message = service.wait(again, 250)
    assert kind == "FAILED"
    assert "mean confidence must be at least 1.0" in message
    log = (service.root / ".work" / "logs" / f"flow-{EXPERIMENT}-train.log").read_text()
    assert "goes on after" in log.split("---")[-1]
    assert service.version() == version + 1  # the batch
    refused = f"{EXPERIMENT} was not published: a model must be healthy"
    # Prefect calls the hook that sends it once everybody can see that the run has failed.
    (alert,) = wait_until(lambda: [body for body in receiver.received if body["text"].startswith(refused)])
    assert alert["repository"] == str(service.root)


def test_a_second_service_is_told_who_serves(service: Service) -> None:
    done = service.repository.facets("serve", "--port", str(service.port + 2), check=False)
    assert done.returncode == 6
    assert f"pid {service.pid} (facets serve) has held its lock since" in done.stderr


def test_schedules_are_those_of_the_parameters(service: Service) -> None:
    schedule = yaml.safe_load((service.root / "params.yaml").read_text())["experiments"][EXPERIMENT]["schedule"]
    expected = {"rebuild": schedule["rebuild"], "retrain": schedule["rebuild"], "tidy": schedule["tidy"]}
    found = service.ask("/deployments/filter", deployments={"name": {"any_": [service.deployment_name]}})
    crons = {d["entrypoint"].rsplit(".", 1)[1]: [s["schedule"]["cron"] for s in d["schedules"]] for d in found}
    assert crons == {"ingest": [], **{flow: [cron] for flow, cron in expected.items()}}
    assert all(s["active"] for d in found for s in d["schedules"])


def test_nothing_of_the_service_listens_beyond_loopback(service: Service) -> None:
    listening = [
        connection.laddr.ip
        for process in service.processes()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 2
    assert set(listening) == {"127.0.0.1"}
