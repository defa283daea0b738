"""The frame of the command line: help, typing errors, exit codes, what it imports."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.cli import _app
from pipeline.core.errors import PipelineError
from tests.cli.calling import Facets
from tests.repository import EXPERIMENT, PROJECT, Repository

COMMANDS = sorted(path.stem for path in (PROJECT / "pipeline" / "cli").glob("[a-z]*.py"))

HEAVY = ["numpy", "torch", "pyarrow", "pandas", "sklearn", "duckdb", "yaml", "h5py", "PIL", "prefect", "rich", "tqdm"]


def test_help_lists_every_command_and_the_exit_codes(facets: Facets) -> None:
    shown = facets("--help")
    assert shown.code == 0
    assert [command for command in COMMANDS if f"\n  {command} " not in shown.out] == []
    for kind in PipelineError.__subclasses__():
        assert f"  {kind.exit_code} " in shown.out


def test_without_arguments_there_is_help(facets: Facets) -> None:
    shown = facets()
    assert (shown.code, shown.out) == (2, "")
    assert shown.err.startswith("Usage: facets ")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_shows_an_example(facets: Facets, command: str) -> None:
    shown = facets(command, "-h")
    assert shown.code == 0
    assert "\n  Example:\n      facets " + command in shown.out


def test_a_mistyped_command_is_answered_with_the_nearest(facets: Facets) -> None:
    shown = facets("rebiuld")
    assert shown.code == 2
    assert "Did you mean 'rebuild'?" in shown.err


def test_help_imports_nothing_heavy_and_is_quick() -> None:
    script = (
        "import sys; sys.argv = ['facets', '--help']\n"
        "from pipeline.cli import main\n"
        "try: main()\n"
        f"finally: print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    start = time.process_time(), time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert time.monotonic() - start[1] < 20  # a fifth of a second on an idle machine; tests share theirs


def test_outside_a_repository_one_line_says_where_to_go(
    facets: Facets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = facets("status")
    assert shown.code == 2
    assert shown.err == (
        f"facets: this must run inside a project with a params.yaml, got {tmp_path}; change into one, or make one by "
        "facets init\n"
    )


@pytest.mark.parametrize("kind", PipelineError.__subclasses__())
def test_a_deliberate_error_is_one_line_and_its_exit_code(
    facets: Facets, monkeypatch: pytest.MonkeyPatch, kind: type[PipelineError]
) -> None:
    def fail(prog_name: str) -> None:
        raise kind("rule, what was received; remedy")

    monkeypatch.setattr(_app, "app", fail)
    shown = facets("anything")
    assert (shown.code, shown.out, shown.err) == (kind.exit_code, "", "facets: rule, what was received; remedy\n")


def test_an_unexpected_error_keeps_its_traceback(facets: Facets, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(prog_name: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(_app, "app", fail)
    with pytest.raises(ZeroDivisionError):
        facets("anything")


def test_a_warning_is_one_line(inside: Repository) -> None:
    names = inside.root / "names" / f"{EXPERIMENT}.csv"
    names.parent.mkdir(exist_ok=True)
    names.write_text("uid,name,note,minted_by\nf1-c000,owls,,m-000000000000\n")
    shown = inside.facets("query", EXPERIMENT, "select name from clusters")
    (line,) = shown.stderr.splitlines()
    assert line.startswith(f"facets: warning: {names} names clusters that were made in another history")


def test_an_interrupt_ends_with_the_shells_code_and_a_word(
    facets: Facets, inside_template: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.tables.query", interrupt)  # inside a command: typer makes an exit of it
    shown = facets("query", "tiny", "select 1")
    assert (shown.code, shown.out) == (130, "")
    assert shown.err == "facets: interrupted; nothing is half-written, run it again to go on\n"


def test_a_termination_ends_as_an_exception_so_that_children_are_ended(
    facets: Facets, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    cleaned: list[bool] = []

    def terminate(prog_name: str) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            cleaned.append(True)

    monkeypatch.setattr(_app, "app", terminate)
    assert facets("anything").code == 143
    assert cleaned == [True]


PIPED = """
import sys
from pipeline.cli import main
sys.argv = ["facets", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("arguments", [["status"], ["query", "tiny", "select * from facet_0"], ["--help"]])
@pytest.mark.parametrize("both", [False, True], ids=["stdout", "both"])
def test_nobody_who_reads_the_output_is_no_fault(template: Repository, arguments: list[str], both: bool) -> None:
    """As ``facets … | head -1``, once head has ended; other tools end by SIGPIPE then."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", PIPED, *arguments]
    done = subprocess.run(
        command, cwd=template.root, stdout=writer, stderr=writer if both else subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr or "") == (141, "")


PRINTING = """
import sys
from pipeline.cli import _app
from pipeline.cli._shared import show
_app.app = lambda prog_name: show(sys.argv[1], [sys.argv[1]], sys.argv[2:] == ["--json"])
_app.main()
"""

TEXT = "Bäume→🌲"


def printed(tmp_path: Path, redirect: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run what prints a text below a shell that does something with its streams."""
    command = ["sh", "-c", f'"$@" {redirect}', "sh", sys.executable, "-c", PRINTING, TEXT, *arguments]
    env = {**os.environ, "PYTHONPATH": str(PROJECT), **environment}
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=env)


@pytest.mark.parametrize("redirect", [">&-", "<&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_fault(tmp_path: Path, redirect: str) -> None:
    done = printed(tmp_path, redirect)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("" if ">&-" in redirect.replace("2>&-", "") else f"{TEXT}\n")


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", "B\\u00e4ume\\u2192"), ("latin-1", "B\\u00e4ume\\u2192")])
def test_what_an_encoding_lacks_is_escaped_as_in_json(tmp_path: Path, encoding: str, shown: str) -> None:
    import json

    shown = shown if encoding == "ascii" else shown.replace("\\u00e4", "ä")
    path = tmp_path / "out"
    assert printed(tmp_path, ">out", PYTHONIOENCODING=encoding).returncode == 0
    assert path.read_bytes().decode(encoding) == f"{shown}\\ud83c\\udf32\n"
    assert printed(tmp_path, ">out", "--json", PYTHONIOENCODING=encoding).returncode == 0
    assert json.loads(path.read_bytes().decode(encoding)) == [TEXT]


@pytest.mark.parametrize("script", [PRINTING, PRINTING.replace("sys.argv[1],", "sys.argv[1] * 9999,"), PIPED])
def test_a_full_output_is_named_once_and_no_file_of_the_repository(tmp_path: Path, script: str) -> None:
    command = ["sh", "-c", '"$@" >/dev/full', "sh", sys.executable, "-c", script, "--help"]
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=False, env=env)
    assert done.returncode == 7
    assert done.stderr.startswith("facets: standard output must take what is printed, but: No space left on device;")
    assert done.stderr.count("\n") == 1


def test_a_file_that_may_not_be_read_is_named(facets: Facets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "params.yaml"
    path.touch()

    def fail(prog_name: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(_app, "app", fail)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read whatever the mode is
    shown = facets("anything")
    assert shown.code == 7
    assert shown.err == f"facets: {path} must be readable, but: Permission denied; mend access to it and run again\n"
