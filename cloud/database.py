"""The SQLite file: opened durable (WAL, synchronous=FULL), its schema, transactions, and the one thread that uses it.

What a committed transaction holds survives the end of the process and of the power. Knows no meaning of the tables:
`store.py` and `samples.py` do.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from gateway.errors import Corrupted, NotSupported, Unavailable

P = ParamSpec("P")
T = TypeVar("T")

_STEPS: Final = (
    """
    CREATE TABLE signers (
        id TEXT PRIMARY KEY, pem BLOB NOT NULL, created_ns INTEGER NOT NULL, retired INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE keys_documents (version INTEGER PRIMARY KEY, envelope BLOB NOT NULL);
    CREATE TABLE gateways (
        gateway TEXT PRIMARY KEY, incarnation TEXT NOT NULL, confirmation_key TEXT NOT NULL,
        enrolled_ns INTEGER NOT NULL, status TEXT, status_ns INTEGER
    );
    CREATE TABLE desired (
        gateway TEXT PRIMARY KEY REFERENCES gateways, revision INTEGER NOT NULL, apps TEXT NOT NULL,
        envelope BLOB NOT NULL, changed_ns INTEGER NOT NULL
    );
    CREATE TABLE reports (
        gateway TEXT NOT NULL REFERENCES gateways, app TEXT NOT NULL, report TEXT NOT NULL, time_ns INTEGER NOT NULL,
        PRIMARY KEY (gateway, app)
    ) WITHOUT ROWID;
    CREATE TABLE series (
        id INTEGER PRIMARY KEY, gateway TEXT NOT NULL REFERENCES gateways, incarnation TEXT NOT NULL,
        stream TEXT NOT NULL, epoch TEXT NOT NULL, UNIQUE (gateway, incarnation, stream, epoch)
    );
    CREATE TABLE samples (
        n INTEGER PRIMARY KEY, series INTEGER NOT NULL REFERENCES series, seq INTEGER NOT NULL, kind TEXT NOT NULL,
        tag TEXT NOT NULL, time_ns INTEGER NOT NULL, record TEXT NOT NULL, UNIQUE (series, seq)
    );
    CREATE TABLE latest (
        gateway TEXT NOT NULL REFERENCES gateways, tag TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL,
        unit TEXT NOT NULL, quality TEXT NOT NULL, time_ns INTEGER NOT NULL, PRIMARY KEY (gateway, tag)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE operations (
        id TEXT PRIMARY KEY, gateway TEXT NOT NULL REFERENCES gateways, incarnation TEXT NOT NULL, op TEXT NOT NULL,
        app TEXT NOT NULL, arguments TEXT NOT NULL, asked_by TEXT NOT NULL, asked_ns INTEGER NOT NULL,
        state TEXT NOT NULL, request TEXT NOT NULL, result TEXT NOT NULL, error TEXT NOT NULL,
        answered_ns INTEGER NOT NULL
    );
    CREATE INDEX operations_by_gateway ON operations (gateway, asked_ns);
    CREATE INDEX operations_by_request ON operations (request);
    """,
)
"""Step i brings schema i to schema i + 1; steps are only ever added."""
SCHEMA: Final = len(_STEPS)


class Database:
    """Open it, use `run` from the event loop or `transaction` from a thread of your own, close it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database")

    def open(self) -> None:
        """Unavailable: cannot be opened. NotSupported: written by a newer version. Corrupted: not our file."""
        try:
            # The file holds private keys: it is nobody else's from its first moment on.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            self._connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10.0)
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                self._connection.execute(f"PRAGMA {pragma}")
            self._migrate()
        except sqlite3.DatabaseError as failure:
            self.close()
            kind = Unavailable if isinstance(failure, sqlite3.OperationalError) else Corrupted
            raise kind(f"cannot open {self._path}: {failure}") from failure
        except OSError as failure:
            raise Unavailable(f"cannot open {self._path}: {failure.strerror}") from failure
        except NotSupported:
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it is committed and on disk when the block ends; nothing of it when the block raises."""
        connection = self._open()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def execute(self, statement: str, *parameters: object) -> sqlite3.Cursor:
        """One statement that only reads."""
        return self._open().execute(statement, parameters)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`work(...)` in the database's thread: one at a time, in the order of the calls."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))

    def close(self) -> None:
        self._thread.shutdown()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise Unavailable(f"cannot use {self._path}: it is closed")
        return self._connection

    def _migrate(self) -> None:
        version = int(self.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA:
            raise NotSupported(
                f"cannot open {self._path}: it has schema {version}, this version knows up to {SCHEMA}",
                hint="use the version that wrote it, or a newer one",
            )
        for number in range(version, SCHEMA):
            # executescript commits what is open, so the step itself carries its transaction.
            step = f"BEGIN IMMEDIATE; {_STEPS[number]} PRAGMA user_version = {number + 1}; COMMIT;"
            self._open().executescript(step)
