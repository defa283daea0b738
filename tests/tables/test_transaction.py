import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.core.errors import ResourceError
from pipeline.tables import read, transaction
from pipeline.tables.transaction import plan, recover, step
from tests.tables.builders import Bench, cycle, make_ids, published_bench

OLD, NEW = "m-aaaaaaaaaaaa", "m-bbbbbbbbbbbb"

pytestmark = pytest.mark.no_shapes  # the tests of publishing check them


def snapshot(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def second_model(bench):
    ids = {"train": make_ids(60), "test": make_ids(20, 60)}
    bench.write_model(NEW, {batch: [cycle(len(of), 4, 1), cycle(len(of), 3)] for batch, of in ids.items()}, ids)


def test_nothing_planned_changes_nothing(tmp_path):
    (tmp_path / "kept").write_text("a")
    with step(tmp_path) as folder:
        (folder / "new").write_text("b")
    assert snapshot(tmp_path) == {"kept": b"a"}


def test_an_error_changes_nothing(tmp_path):
    (tmp_path / "kept").write_text("a")

    def fail():
        with step(tmp_path) as folder:
            plan(folder, 1)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert snapshot(tmp_path) == {"kept": b"a"}


def test_obsolete_files_go_with_their_empty_folders(tmp_path):
    for name in ("parts/a/x", "parts/b/x", "models/m/deep/x"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("")
    with step(tmp_path) as folder:
        plan(folder, 3, obsolete=["parts/a/x", "models/m", "parts/never/was"])
    assert sorted(snapshot(tmp_path)) == ["copies/manifest.json", "manifest.json", "parts/b/x"]
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["b"]


class _Killed(BaseException):
    """Stands for a kill: no handler of the product sees it."""


CALLS = ("_move_files", "write_sealed", "keep_copy", "_withdraw", "_delete", "shutil.rmtree")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("after", [False, True])
def test_a_kill_while_applying_is_made_good(tmp_path, monkeypatch, call, after):
    bench, _ = published_bench(tmp_path)
    second_model(bench)
    bench.publish(NEW)
    gone = frozenset(make_ids(1))
    target = f"pipeline.tables.transaction.{call}"
    original = transaction.shutil.rmtree if "." in call else getattr(transaction, call)

    def killed(*arguments, **options):
        # the kill is to come after the decision
        decided = (bench.published / ".next").exists()
        if after or not decided:
            original(*arguments, **options)
        if decided:
            raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(target, killed)
        with pytest.raises(_Killed):
            bench.history.withdraw(gone)
    assert bench.history.served().version in (2, 3)
    recover(bench.published)
    assert bench.history.served().version == 3
    assert bench.history.check() == []
    assert len(read("toy", "facet_0", root=bench.root)) == 79
    assert not list(bench.published.glob(".*"))
    bench.history.withdraw(gone)
    assert bench.history.served().version == 3


def test_a_full_disk_leaves_the_old_version(tmp_path, monkeypatch):
    bench, _ = published_bench(tmp_path)
    second_model(bench)
    before = snapshot(bench.published)

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.tables.parts.write_table", full)
        with pytest.raises(ResourceError, match="No space left on device"):
            bench.publish(NEW)
    assert snapshot(bench.published) == before
    assert bench.publish(NEW) == 2


_PUBLISHER = """
import sys
from pathlib import Path
from tests.tables.builders import Bench

bench = Bench(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    for model in ("m-bbbbbbbbbbbb", "m-aaaaaaaaaaaa"):
        bench.publish(model)
"""


def kill_somewhere(bench: Bench, delay: float) -> None:
    """Start a process that publishes one model after the other and kill it some time later."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", _PUBLISHER, str(bench.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)


def publish_after_kills(bench: Bench, n_kills: int, generator: random.Random) -> None:
    for _ in range(n_kills):
        kill_somewhere(bench, generator.uniform(0.0, 0.4))
        assert len(read("toy", "facet_0", root=bench.root)) == 80
        before = bench.history.served()
        other = OLD if before.model_version == NEW else NEW
        assert bench.publish(other) > before.version
        assert bench.history.served().model_version == other
        assert bench.history.check() == []
        leftovers = [path.name for path in bench.published.rglob(".*")]
        assert leftovers == []


@pytest.mark.no_cover  # again and again what other tests cover
def test_kill_9_at_random_points(tmp_path):
    bench, _ = published_bench(tmp_path)
    second_model(bench)
    publish_after_kills(bench, 3, random.Random(0))


@pytest.mark.soak
def test_kill_9_at_many_random_points(tmp_path):
    bench, _ = published_bench(tmp_path)
    second_model(bench)
    publish_after_kills(bench, 40, random.Random(1))
