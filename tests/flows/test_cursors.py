"""The deadlock of a server whose event loop frees a cursor while its connection waits for the database."""

import asyncio
import gc
import time
from pathlib import Path

import aiosqlite
import pytest

from pipeline.flows.cursors import free_cursors_in_their_threads

SECONDS_TO_WAIT = 5.0


@pytest.fixture
def freed_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiosqlite.Cursor, "__del__", None, raising=False)  # so that it is as before after the test
    free_cursors_in_their_threads()


async def half_read(connection: aiosqlite.Connection) -> aiosqlite.Cursor:
    """Return a cursor in the midst of its rows."""
    cursor = await connection.execute("SELECT * FROM number")
    assert await cursor.fetchone() is not None
    return cursor


async def refused(connection: aiosqlite.Connection, holder: aiosqlite.Connection) -> aiosqlite.Cursor:
    """Return a cursor whose statement was refused because another connection held the lock."""
    await connection.execute("PRAGMA busy_timeout = 0")
    await holder.execute("BEGIN IMMEDIATE")
    cursor = await connection.cursor()
    with pytest.raises(aiosqlite.OperationalError, match="database is locked"):
        await cursor.execute("INSERT INTO number VALUES (4)")
    await holder.execute("COMMIT")
    await connection.execute(f"PRAGMA busy_timeout = {SECONDS_TO_WAIT * 1000:.0f}")
    return cursor


async def seconds_to_write(file: Path) -> float:
    """Commit one transaction while another one waits for it, on a connection whose old cursor is freed meanwhile."""
    async with (
        aiosqlite.connect(file, isolation_level=None) as holder,
        aiosqlite.connect(file, isolation_level=None) as waiting,
    ):
        await holder.execute("PRAGMA journal_mode = WAL")
        await holder.execute("CREATE TABLE number (it INTEGER)")
        cycle: list[object] = [await refused(waiting, holder)]
        cycle.append(cycle)
        await holder.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        other = asyncio.create_task(write(waiting))
        await asyncio.sleep(0.2)  # it waits now, in its own thread
        del cycle
        gc.collect()
        await holder.execute("COMMIT")
        await other
        return time.monotonic() - started


async def write(connection: aiosqlite.Connection) -> None:
    await connection.execute("BEGIN IMMEDIATE")
    await connection.execute("INSERT INTO number VALUES (4)")
    await connection.execute("COMMIT")


@pytest.mark.usefixtures("freed_in_threads")
def test_freeing_a_cursor_does_not_wait_for_its_connection(tmp_path: Path) -> None:
    assert asyncio.run(seconds_to_write(tmp_path / "some.db")) < SECONDS_TO_WAIT / 2


@pytest.mark.usefixtures("freed_in_threads")
def test_a_connection_may_write_once_its_old_cursor_is_gone(tmp_path: Path) -> None:
    """A statement that was never read to its end would pin the state that it began with."""

    async def write_after_another() -> list[tuple[int]]:
        file = tmp_path / "some.db"
        async with (
            aiosqlite.connect(file, isolation_level=None) as one,
            aiosqlite.connect(file, isolation_level=None, timeout=0.1) as other,
        ):
            await one.execute("PRAGMA journal_mode = WAL")
            await one.executescript("CREATE TABLE number (it INTEGER); INSERT INTO number VALUES (1), (2), (3);")
            cursor = await half_read(other)
            await one.execute("INSERT INTO number VALUES (4)")
            with pytest.raises(aiosqlite.OperationalError, match="database is locked"):
                await other.execute("INSERT INTO number VALUES (5)")
            del cursor
            gc.collect()
            await other.execute("INSERT INTO number VALUES (6)")
            return list(await other.execute_fetchall("SELECT it FROM number WHERE it > 3 ORDER BY it"))

    assert asyncio.run(write_after_another()) == [(4,), (6,)]
