"""The outbox's SQLite file: opened for one owner, its schema, its epoch, and what is done when it is damaged.

A new file starts a new epoch (a random id), because sequence numbers start again. A file that cannot be read, or that
belongs to another incarnation of this gateway, is moved aside and kept: losing its records quietly, or sending them to
whoever enrolled the gateway anew, would be worse than a person having to look. Used by `store.py` only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from gateway.errors import Corrupted, NotSupported, Unavailable
from gateway.host.files import fsync_directory

log = logging.getLogger(__name__)

APPLICATION_ID: Final = 0x46474F42
"""`FGOB`: says whose file this is (https://sqlite.org/pragma.html#pragma_application_id)."""
SCHEMA: Final = 1
LOCK_TIMEOUT_S: Final = 2.0
CACHE_KIB: Final = 512
WAL_PAGES: Final = 256
"""Checkpoint after 1 MiB of log: what the file takes besides its quota."""
KEPT_ASIDE: Final = 2
"""Files that were moved aside; older ones are removed, flash is small."""

_CREATE: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE streams (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, appended INTEGER NOT NULL DEFAULT 0,
    pending INTEGER NOT NULL DEFAULT 0, confirmed INTEGER NOT NULL DEFAULT 0, dropped INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0
);
-- id: stream << 48 | first, so that a stream's batches lie together and in order, and dropping frees whole pages
CREATE TABLE batches (id INTEGER PRIMARY KEY, last INTEGER NOT NULL, crc INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE TABLE keys (
    id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, key TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    time INTEGER NOT NULL, UNIQUE (stream, key)
);
"""

Migration = Callable[[sqlite3.Connection], None]
MIGRATIONS: Final[Mapping[int, Migration]] = {}
"""`MIGRATIONS[n]` turns schema n into n + 1, inside the transaction that also writes the new number."""


def open_database(
    path: Path, incarnation: str, schema: int = SCHEMA, migrations: Mapping[int, Migration] = MIGRATIONS
) -> tuple[sqlite3.Connection, str]:
    """The connection and the epoch. What is unusable is moved aside and a new file started.

    NotSupported: the file is from a newer agent, which is no damage; it stays. Unavailable: no room, no access, or
    another process has it.
    """
    with translated(f"open outbox {path}"):
        try:
            return _open(path, incarnation, schema, migrations)
        except Corrupted as failure:
            move_aside(path, str(failure))
            return _open(path, incarnation, schema, migrations)


@contextlib.contextmanager
def translated(verb_and_object: str) -> Iterator[None]:
    """SQLite's errors as ours: Corrupted for damage, Unavailable for everything that may pass (full, busy, I/O)."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.Error as failure:
        if getattr(failure, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise Corrupted(f"cannot {verb_and_object}: {failure}") from failure
        raise Unavailable(f"cannot {verb_and_object}: {failure}") from failure
    except OSError as failure:
        raise Unavailable(f"cannot {verb_and_object}: {failure.strerror}") from failure


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; the error of what failed comes through as it was."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def move_aside(path: Path, reason: str) -> None:
    """Rename the file (and its log) so that it is kept for a person, and make that durable."""
    kept = path.with_name(f"{path.name}.aside-{secrets.token_hex(4)}")
    for suffix in ("-wal", ""):
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{kept}{suffix}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{path}-shm")
    older = [p for p in path.parent.glob(f"{path.name}.aside-????????") if p != kept]
    for name in sorted(older, key=lambda p: p.stat().st_mtime, reverse=True)[KEPT_ASIDE - 1 :]:
        for suffix in ("-wal", ""):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{name}{suffix}")
    fsync_directory(path.parent)
    log.error("outbox moved aside file=%s reason=%s", kept, reason)


def _open(
    path: Path, incarnation: str, schema: int, migrations: Mapping[int, Migration]
) -> tuple[sqlite3.Connection, str]:
    connection = sqlite3.connect(path, timeout=LOCK_TIMEOUT_S, isolation_level=None)
    try:
        with translated(f"open outbox {path}"):
            _configure(connection)
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                _create(connection, incarnation, schema)
                fsync_directory(path.parent)
                log.info("outbox created file=%s", path)
            _check_schema(connection, path, schema, migrations)
            meta = _meta(connection, path)
        if meta["incarnation"] != incarnation:
            raise Corrupted(f"cannot use outbox {path}: it belongs to incarnation {meta['incarnation']!r}")
        return connection, meta["epoch"]
    except BaseException:
        connection.close()
        raise


def _configure(connection: sqlite3.Connection) -> None:
    """WAL with every commit on flash. Exclusive: one owner, so no shared-memory file, and a second agent is refused."""
    for pragma in (
        "locking_mode = EXCLUSIVE",
        "journal_mode = WAL",
        "synchronous = FULL",
        f"wal_autocheckpoint = {WAL_PAGES}",
        f"journal_size_limit = {WAL_PAGES * 4096}",
        f"cache_size = -{CACHE_KIB}",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _create(connection: sqlite3.Connection, incarnation: str, schema: int) -> None:
    with transaction(connection):
        for statement in _CREATE.split(";"):
            connection.execute(statement)
        meta = (("epoch", secrets.token_hex(8)), ("incarnation", incarnation))
        connection.executemany("INSERT INTO meta (name, value) VALUES (?, ?)", meta)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {schema}")


def _meta(connection: sqlite3.Connection, path: Path) -> dict[str, str]:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if missing := {"meta", "streams", "batches", "keys"} - tables:
        raise Corrupted(f"cannot use outbox {path}: it has no table {min(missing)}")
    meta = {str(name): str(value) for name, value in connection.execute("SELECT name, value FROM meta")}
    if not meta.keys() >= {"epoch", "incarnation"}:
        raise Corrupted(f"cannot use outbox {path}: it has no epoch")
    return meta


def _check_schema(connection: sqlite3.Connection, path: Path, schema: int, migrations: Mapping[int, Migration]) -> None:
    """Bring the file to our schema. Raises Corrupted when it is not an outbox at all."""
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise Corrupted(f"cannot use outbox {path}: it is some other database")
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > schema:
        raise NotSupported(
            f"cannot use outbox {path}: schema {found} is newer than this agent's {schema}",
            hint="install the agent version that wrote it, or a newer one",
        )
    while found < schema:
        if found not in migrations:
            raise NotSupported(f"cannot use outbox {path}: no migration from schema {found} to {found + 1}")
        with transaction(connection):
            migrations[found](connection)
            found += 1
            connection.execute(f"PRAGMA user_version = {found}")
        log.info("outbox migrated file=%s schema=%d", path, found)
