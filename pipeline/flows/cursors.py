"""Cursors of the Prefect server's database: freed in the thread of their connection, never in the event loop's.

The cursor of a statement that was refused ("database is locked") or given up stays in a traceback until the garbage
collector finds it, perhaps in the event loop, which then waits for whatever the cursor's connection does. If that waits
for the database to be unlocked, the transaction with the lock can't go on without the event loop: the server stands
still for the minute that SQLite waits at most, and again with the next such cursor. One that is not freed at all is as
bad: what it reads is of a moment long ago, after which its connection may write no more.
"""

import aiosqlite


def free_cursors_in_their_threads() -> None:
    """Have cursors that nobody closed closed by the thread that executes their statements, from now on."""
    aiosqlite.Cursor.__del__ = _close_later  # pyright: ignore[reportAttributeAccessIssue]


def _close_later(cursor: aiosqlite.Cursor) -> None:
    """Queue the closing behind what the connection does; the queue is made to be put into by finalizers, too."""
    cursor._conn._tx.put_nowait((None, cursor._cursor.close))
