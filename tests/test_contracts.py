"""Private parts of others that the product relies on; their packages are pinned exactly, and each part has a test here.

A failure says that a new release has changed a part: adapt the module that it names, then raise the pin in
pyproject.toml. What the parts are for is tested where they are used.
"""

import inspect
import json
import logging
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import CodeType, FunctionType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock
from uuid import uuid4

import aiosqlite
import anyio
import dvc.lock
import dvc.repo.reproduce
import dvc.rwlock
import dvc.stage.cache
import dvc.stage.run
import pytest
import yaml
from dvc.dvcfile import Lockfile
from dvc.fs import localfs
from dvc.repo import Repo
from dvc.stage.exceptions import StageCmdFailedError
from dvc.utils import strictyaml
from prefect.logging.configuration import DEFAULT_LOGGING_SETTINGS_PATH
from prefect.logging.formatters import PrefectFormatter
from prefect.runner import Runner
from prefect.runner import runner as runner_module
from prefect.runner._scheduled_run_poller import ScheduledRunPoller
from prefect.settings import get_current_settings

from pipeline.flows import guard
from pipeline.flows.access import _DATABASE
from pipeline.flows.missed import LatestRunPoller
from pipeline.flows.server_log import _RECORD
from pipeline.flows.starter import Starter
from pipeline.operations.dvc import _DAMAGED_LOCK_FILE, _EXITED
from pipeline.operations.dvc_locks import clear_stale_locks, remember_run
from pipeline.operations.outputs import _cached
from pipeline.operations.repro import _RESTORED, _RUNNING, _reason
from tests.repository import PROJECT


@pytest.mark.parametrize("package", ["prefect", "dvc", "aiosqlite"])
def test_the_package_is_pinned_to_the_release_that_is_tested(package: str) -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = [line for lines in project["optional-dependencies"].values() for line in lines]
    assert f"{package}=={version(package)}" in wanted


# --- Prefect ----------------------------------------------------------------------------------------------------------


def names_used(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_used(constant)


def changed(package: str, what: str, module: str) -> str:
    return f"{package} {version(package)} {what}; adapt {module}"


def test_the_server_frees_cursors_where_the_guard_says() -> None:
    assert "free_cursors_in_their_threads" in set(names_used(guard.run.__code__))
    given = inspect.signature(aiosqlite.Cursor.__init__).parameters.keys()
    assert {"conn", "cursor"} <= given, changed("aiosqlite", "makes cursors otherwise", "flows/cursors.py")
    assert not hasattr(aiosqlite.Cursor, "__del__"), changed("aiosqlite", "frees cursors itself", "flows/cursors.py")


@pytest.mark.parametrize("name", ["EngineCommandStarter", "ScheduledRunPoller", "load_flow_from_flow_run"])
def test_the_runner_takes_its_parts_from_the_names_that_the_service_replaces(name: str) -> None:
    functions = [member for member in vars(Runner).values() if isinstance(member, FunctionType)]
    used = {name for function in functions for name in names_used(function.__code__)}
    assert hasattr(runner_module, name), changed("prefect", f"has no prefect.runner.runner.{name}", "flows/serve.py")
    assert name in used, changed("prefect", f"does not ask prefect.runner.runner for {name}", "flows/serve.py")


def test_the_runner_lets_a_method_handle_sigterm() -> None:
    assert "handle_sigterm" in set(names_used(Runner.start.__code__)), changed(
        "prefect", "does not call Runner.handle_sigterm", "flows/serve.py"
    )


class _Looked(Exception):
    pass


def test_the_poller_asks_a_method_which_runs_are_due() -> None:
    class Poller(LatestRunPoller):
        async def _get_scheduled_flow_runs(self) -> Any:
            raise _Looked

    given = inspect.signature(ScheduledRunPoller.__init__).parameters.keys() - {"self"}
    poller = Poller(**{name: MagicMock() for name in given})
    missing = {"_submitting_flow_run_ids", "_client", "_logger"} - vars(poller).keys()
    assert not missing, changed("prefect", f"calls {missing} of its poller otherwise", "flows/missed.py")
    with pytest.raises(_Looked):
        anyio.run(poller._get_and_submit_flow_runs)


def test_the_starter_runs_a_command_with_the_entrypoint_in_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "said"
    code = f"import os, pathlib; pathlib.Path({str(said)!r}).write_text(os.environ['PREFECT__FLOW_ENTRYPOINT'])"
    monkeypatch.setattr("pipeline.flows.starter._RUN", code)
    run: Any = SimpleNamespace(id=uuid4(), deployment_id=uuid4())
    starter = Starter({run.deployment_id: "module.flow"}, entrypoint="elsewhere.flow")
    anyio.run(starter.start, run)
    assert said.exists(), changed("prefect", "does not run a starter's command", "flows/starter.py")
    assert said.read_text() == "module.flow", changed("prefect", "has another _entrypoint", "flows/starter.py")


def test_the_server_is_an_application_that_can_be_wrapped() -> None:
    from prefect.server.api.server import create_app  # here: every worker would load the server with all it stands on

    assert "final" in inspect.signature(create_app).parameters, changed(
        "prefect", "makes its server otherwise", "flows/guard.py"
    )


def test_the_server_keeps_its_database_in_the_file_that_is_made_private() -> None:
    found = get_current_settings().server.database.connection_url
    assert found is not None
    assert found.get_secret_value().endswith(f"/{_DATABASE}"), changed("prefect", f"uses {found}", "flows/access.py")


def test_the_server_writes_its_log_as_it_is_read() -> None:
    stated = yaml.safe_load(DEFAULT_LOGGING_SETTINGS_PATH.read_text())["formatters"]["standard"]
    formatter = PrefectFormatter(stated["format"], stated.get("datefmt"))
    line = formatter.format(logging.LogRecord("prefect.server.services", logging.ERROR, "", 0, "no", None, None))
    match = _RECORD.fullmatch(line)
    assert match is not None, changed("prefect", f"logs {line!r}", "flows/server_log.py")
    assert match.groups() == ("ERROR", "prefect.server.services", "no")


# --- DVC --------------------------------------------------------------------------------------------------------------


def test_the_table_of_path_locks_is_kept_as_it_is_cleared(tmp_path: Path) -> None:
    folder = tmp_path / ".dvc" / "tmp"
    folder.mkdir(parents=True)
    others = [str(tmp_path / "read")]
    with dvc.rwlock.rwlock(str(folder), localfs, "dvc repro", others, [str(tmp_path / "write")], False):
        (ours,) = {pid["pid"] for pid in json.loads((folder / "rwlock").read_text())["write"].values()}
        remember_run(tmp_path, ours, ["dvc", "repro"])
        with dvc.lock.make_lock(str(folder / "rwlock.lock"), tmp_dir=str(folder)):
            before = (folder / "rwlock").read_text()
            clear_stale_locks(tmp_path)
            assert (folder / "rwlock").read_text() == before, changed(
                "dvc", "guards its table by another lock than flock on rwlock.lock", "operations/dvc_locks.py"
            )
        clear_stale_locks(tmp_path)
        assert json.loads((folder / "rwlock").read_text()) == {"write": {}, "read": {}}, changed(
            "dvc", f"notes path locks otherwise: {before}", "operations/dvc_locks.py"
        )
        (folder / "rwlock").write_text(before)


def test_the_cache_lies_where_it_is_read_and_what_is_stale_is_told_as_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site-cache"))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("x: 1\n")
    (tmp_path / "input").touch()
    (tmp_path / "dvc.yaml").write_text("stages: {a: {cmd: 'true', deps: [input], params: [x], outs: [out]}}\n")
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        md5 = "0123456789abcdef0123456789abcdef"
        assert repo.cache.local.oid_to_path(md5) == str(_cached(tmp_path, md5)), changed(
            "dvc", f"keeps {repo.cache.local.oid_to_path(md5)}", "operations/outputs.py"
        )
        found = repo.status(targets=["a"])
    assert found["a"][0].keys() == {"changed deps"}, changed("dvc", f"has the status {found}", "operations/repro.py")
    assert _reason(found["a"]) == "it has not run yet", changed("dvc", f"says {found}", "operations/repro.py")


PROSE: dict[str, tuple[Callable[..., Any], str, Callable[[str], Any]]] = {
    "a stage runs": (dvc.stage.run.cmd_run, "Running stage '%s':", _RUNNING.search),
    "a stage is restored": (
        dvc.stage.cache.StageCache.restore,
        "Stage '%s' is cached - skipping run, checking out outputs",
        _RESTORED.search,
    ),
    "nothing is to be done": (
        dvc.stage.Stage.reproduce,
        "Stage '%s' didn't change, skipping",
        lambda line: line.startswith("Stage '"),
    ),
}


@pytest.mark.parametrize("name", PROSE)
def test_what_is_printed_of_a_stage_is_understood(name: str) -> None:
    says, text, understands = PROSE[name]
    assert f'"{text}"' in inspect.getsource(says), changed("dvc", f"does not say {text!r}", "operations/repro.py")
    assert understands(text % "train@digits")


def test_what_is_printed_of_a_failed_stage_is_understood() -> None:
    stage: Any = SimpleNamespace(addressing="train@digits")
    with pytest.raises(dvc.repo.reproduce.ReproductionError) as caught:
        dvc.repo.reproduce._raise_error(StageCmdFailedError("stages/run train digits", 3), stage)
    said = f"{caught.value}: {caught.value.__cause__}"  # as the command line joins them
    match = _EXITED.search(said)
    assert match is not None, changed("dvc", f"says {said!r} of a failed stage", "operations/dvc.py")
    assert match.groups() == ("train@digits", "3")


@pytest.mark.parametrize("text", ["schema: '2.0'\n  : [", "schem", "schema: '2.0'\nstages: 3\n"])
def test_what_is_printed_of_a_damaged_lock_file_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "dvc.lock").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises((strictyaml.YAMLSyntaxError, strictyaml.YAMLValidationError)) as caught:
        strictyaml.load("dvc.lock", Lockfile.SCHEMA, localfs)
    if isinstance(caught.value, strictyaml.YAMLSyntaxError):
        caught.value.__pretty_exc__()
    said = f"{caught.value} {capsys.readouterr().err}"
    assert _DAMAGED_LOCK_FILE.search(said), changed("dvc", f"says {said!r} of a damaged dvc.lock", "operations/dvc.py")
