import os
import signal
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from pipeline.assignment import assign_shards
from pipeline.core.errors import ResourceError
from pipeline.operations.executors import open_executor
from tests.assignment.shards import PARAMS, read_files, write_model, write_shards

N_SHARDS = 200
WHOLE = replace(PARAMS, batch_size=12)
SLOW_TO_IMPORT = pytest.mark.xdist_group("dask")


@pytest.fixture(scope="session")
def distributed() -> Any:
    return pytest.importorskip("distributed", reason="no Dask: install the extra dask")


@pytest.mark.parametrize(("n_shards", "n_images"), [(1, 10**9), (1000, 1000)])
def test_small_work_stays_in_this_process(n_shards, n_images):
    with open_executor(None, n_shards, n_images) as executor:
        assert executor is None


def test_much_work_goes_to_processes():
    with open_executor(None, 300, 10**7) as executor:
        assert isinstance(executor, ProcessPoolExecutor)
        assert executor.submit(os.getpid).result() != os.getpid()


def test_a_process_that_is_killed_is_a_clear_error():
    with (
        pytest.raises(ResourceError, match="one was ended, perhaps for want of memory"),
        open_executor(None, 300, 10**7) as executor,
    ):
        executor.submit(signal.raise_signal, signal.SIGKILL).result()


@SLOW_TO_IMPORT
@pytest.mark.usefixtures("distributed")
def test_no_scheduler_at_the_address(monkeypatch):
    monkeypatch.setattr("pipeline.operations.executors._CONNECT_SECONDS", 0.2)
    with (
        pytest.raises(ResourceError, match=r"but tcp://127\.0\.0\.1:9 does not answer"),
        open_executor("tcp://127.0.0.1:9", 2, 2),
    ):
        pass


@SLOW_TO_IMPORT
def test_a_cluster_gives_the_same_files(distributed, tmp_path):
    model, shards = write_model(tmp_path / "model"), write_shards(tmp_path, 6)
    assign_shards(shards, model, PARAMS, None, lambda _: None)
    expected = read_files(tmp_path / "assigned")
    with (
        distributed.LocalCluster(2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        open_executor(cluster.scheduler_address, len(shards), 72) as executor,
    ):
        assign_shards(shards, model, PARAMS, executor, lambda _: None)
    assert read_files(tmp_path / "assigned") == expected


@pytest.mark.soak
@pytest.mark.parametrize("kill", [False, True])
def test_two_hundred_shards_on_two_workers(distributed, tmp_path, kill):
    model, shards = write_model(tmp_path / "model"), write_shards(tmp_path, N_SHARDS)
    assign_shards(shards, model, WHOLE, None, lambda _: None)
    expected = read_files(tmp_path / "assigned")
    assert len(expected) == 2 * N_SHARDS
    for path in (tmp_path / "assigned").rglob("*.parquet"):
        path.unlink()
    done = []
    with distributed.LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        victim = next(iter(cluster.workers.values())).pid

        def advance(n_images):
            done.append(n_images)
            if kill and len(done) == N_SHARDS // 2:
                os.kill(victim, signal.SIGKILL)

        with open_executor(cluster.scheduler_address, N_SHARDS, 12 * N_SHARDS) as executor:
            assign_shards(shards, model, WHOLE, executor, advance)
    assert len(done) == N_SHARDS
    assert read_files(tmp_path / "assigned") == expected
