"""Alerts: once and not at every turn, whatever went wrong, and a deaf receiver fails nothing."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipeline.core.errors import ConfigError, PipelineError, PublishError
from pipeline.flows.access import read_secret
from pipeline.flows.alert import ALERT_URL, check_alert_url, end_alerts, send_alert
from tests.flows.conftest import Receiver
from tests.flows.service import Service, wait_until
from tests.repository import EXPERIMENT

pytestmark = pytest.mark.xdist_group("service")


@pytest.fixture
def _flows_here(service: Service, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let flows that are called in this process talk to the service's server and to the receiver."""
    monkeypatch.setenv("FACETS_ROOT", str(service.root))
    monkeypatch.setenv("PREFECT_API_URL", service.api)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", read_secret(service.root))
    monkeypatch.setenv(ALERT_URL, receiver.url)
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()
    yield
    monkeypatch.undo()
    refresh_global_settings_context()


@pytest.mark.usefixtures("_flows_here")
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PublishError("a model must be healthy"), "tiny was retrained but not published: a model must be healthy"),
        (ConfigError("mend it"), "retrain of tiny cannot run as it is configured: mend it"),
    ],
)
def test_a_run_that_fails_is_reported(
    service: Service, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, error: PipelineError, text: str
) -> None:
    from pipeline.flows import retrain as module

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(module, "ask_policy", lambda _: {"reasons": ["because"], "facts": []})
    monkeypatch.setattr(module, "train_anew", refuse)
    for _ in range(2):  # of which the second says nothing new
        with pytest.raises(type(error), match=str(error)):
            module.retrain(EXPERIMENT)
    (told,) = [body["text"] for body in receiver.received if body["text"].startswith(text)]
    assert re.fullmatch(rf"; see http://127\.0\.0\.1:{service.port}/runs/flow-run/[0-9a-f-]{{36}}", told[len(text) :])


@pytest.mark.no_cover  # it happens in other processes
@pytest.mark.timeout(0)  # every wait in it has a limit of its own
def test_a_run_whose_process_dies_is_reported(service: Service, receiver: Receiver) -> None:
    run_id = service.start_run("tidy")
    wait_until(lambda: service.run(run_id)["state_type"] == "RUNNING")
    for process in service.processes("prefect.engine"):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    assert service.wait(run_id)[0] == "CRASHED"
    text = "tidy of tiny crashed, the next run goes on where it stopped: "
    address = f"; see {service.api.removesuffix('/api')}/runs/flow-run/{run_id}"
    told = wait_until(lambda: [body["text"] for body in receiver.received if body["text"].startswith(text)])
    assert told[0].endswith(address)


def test_an_alert_is_sent_once_until_its_cause_was_gone(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ALERT_URL, receiver.url)

    def texts() -> list[str]:
        return [body["text"] for body in receiver.received if body["repository"] == str(tmp_path)]

    assert send_alert(tmp_path, "one", "pid 11 fails")
    assert not send_alert(tmp_path, "one", "pid 12 fails", "http://127.0.0.1/of/another/run")
    assert send_alert(tmp_path, "two", "pid 11 fails")
    assert send_alert(tmp_path, "one", "it fails otherwise")
    assert texts() == ["pid 11 fails", "pid 11 fails", "it fails otherwise"]

    pass_time(tmp_path, seconds=2 * 3600)
    assert not send_alert(tmp_path, "one", "it fails otherwise")
    end_alerts(tmp_path, lambda key: key == "one")
    assert send_alert(tmp_path, "one", "it fails otherwise")
    end_alerts(tmp_path, lambda key: key == "one")
    assert not send_alert(tmp_path, "one", "it fails otherwise")  # it comes and goes
    pass_time(tmp_path, seconds=25 * 3600)
    assert send_alert(tmp_path, "two", "pid 13 fails")
    pass_time(tmp_path, seconds=-5 * 3600)  # the clock was set back
    assert send_alert(tmp_path, "two", "pid 13 fails")


@pytest.mark.parametrize("answer", ["nobody", "refusal"])
def test_a_receiver_that_does_not_listen_fails_nothing_and_is_tried_again(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, answer: str
) -> None:
    address = "http://127.0.0.1:9/secret" if answer == "nobody" else f"{receiver.url}-refused/secret"
    monkeypatch.setenv(ALERT_URL, address)
    with caplog.at_level(logging.WARNING):
        assert send_alert(tmp_path, "one", "refused")
        assert not send_alert(tmp_path, "one", "refused")
        pass_time(tmp_path, seconds=61)
        assert send_alert(tmp_path, "one", "refused")
    assert "secret" not in caplog.text
    monkeypatch.setenv(ALERT_URL, receiver.url)
    pass_time(tmp_path, seconds=61)
    assert send_alert(tmp_path, "one", "refused")
    assert {"text": "refused", "repository": str(tmp_path)} in receiver.received


def test_what_was_sent_is_kept_in_a_file_that_may_be_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ALERT_URL, raising=False)
    kept = tmp_path / ".work" / "alerts.json"
    for damage in ("", "[]", '{"one": 3}', '{"one": {"text": "broken"}}'):
        assert send_alert(tmp_path, "one", "broken")
        kept.write_text(damage)
    kept.unlink()
    kept.mkdir()  # nothing can be kept there: it is sent all the same
    assert send_alert(tmp_path, "one", "broken")


@pytest.mark.parametrize("url", ["", "nowhere", "file:///etc/passwd", "http://"])
def test_an_address_that_is_none_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="must begin with http") as caught:
        check_alert_url(url)
    assert "nowhere" not in str(caught.value)
    assert "passwd" not in str(caught.value)


def pass_time(root: Path, seconds: float) -> None:
    """Let what was sent lie longer in the past."""
    path = root / ".work" / "alerts.json"
    records = json.loads(path.read_text())
    for record in records.values():
        record["at"] -= seconds
    path.write_text(json.dumps(records))
