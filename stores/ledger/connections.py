"""Connections to the ledger's database, set up so that waiting is bounded and a commit is on disk.

SQLite: WAL, synchronous=FULL, transactions begun by us (immediately when they write, read-only when they do not).
Used by `engine` alone.
"""

from __future__ import annotations

import math
import time
from typing import Any

import sqlalchemy as sa

WRITING = "grownet_write"  # execution option: begin immediately


def connect(url: sa.URL, busy_seconds: float) -> sa.Engine:
    if not url.drivername.startswith("sqlite"):
        waits = {"connect_timeout": math.ceil(busy_seconds), "options": f"-c lock_timeout={busy_seconds * 1000:.0f}"}
        return sa.create_engine(url, pool_timeout=busy_seconds, pool_pre_ping=True, connect_args=waits)
    engine = sa.create_engine(url, pool_timeout=busy_seconds, connect_args={"timeout": busy_seconds})

    @sa.event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves: the driver's own begins too late
        _use_wal(connection, busy_seconds)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @sa.event.listens_for(engine, "begin")
    def begun(connection: sa.Connection) -> None:
        writing = bool(connection.get_execution_options().get(WRITING))
        connection.exec_driver_sql(f"PRAGMA query_only={'OFF' if writing else 'ON'}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _use_wal(connection: Any, busy_seconds: float) -> None:
    """Two processes that open a new file at once meet here; SQLite does not wait for this lock by itself."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except connection.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
