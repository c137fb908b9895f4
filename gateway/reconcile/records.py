"""What is remembered of each APP across reboots: its last good version, the one that failed, the operator's stop."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateway.errors import FieldgateError, NotSupported
from gateway.host.files import read_limited
from gateway.host.statefile import MAX_BYTES, StateFile
from gateway.model.app import App
from gateway.model.wire import from_wire, to_wire

log = logging.getLogger(__name__)

SCHEMA: Final = 1
GENERATION_BLOCK: Final = 64
"""Generations are reserved on flash by the block: a restart after a crash must not wait for an fsync."""


@dataclass(frozen=True, slots=True)
class Pin:
    """This version stays, whatever the authority desires, until somebody unpins it."""

    version: App
    authority: str
    """Whose APP it was then: an APP that changed hands is not held by it."""
    by: str
    since_ns: int
    """Unix time."""


@dataclass(frozen=True, slots=True)
class AppRecord:
    """One APP. A version is known by its `App.digest`."""

    good: App | None = None
    """The last version that passed its health gate."""
    previous: App | None = None
    """The one before it: where an operator's roll-back goes to."""
    failed_digest: str = ""
    """The version that was rolled back; it is not tried again until the desired state holds another one."""
    failed_reason: str = ""
    stopped: bool = False
    """By the operator, until the operator starts it again."""
    pin: Pin | None = None
    reserved_generation: int = 1
    """No generation from here on was ever used."""


class AppRecords:
    """One state file per APP. Reading is free; `put`, `change` and `remove` block for an fsync.

    They may be called from several threads: what one of them changes is not lost to another.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._records: dict[str, AppRecord] = {}
        self._next_generation: dict[str, int] = {}
        self._writing = threading.RLock()
        self._newer: set[str] = set()
        """APPs whose file a newer agent wrote."""

    def load(self) -> None:
        """Read all. With a damaged record goes the rollback target, not the APP: that goes on by the desired state.

        One of a newer schema (the firmware went back) stays as it is for the agent that wrote it: this one honours the
        operator's stop in it, and remembers what it does itself in memory only.
        """
        for path in sorted(self._directory.glob("*.json")):
            try:
                self._records[path.stem] = from_wire(AppRecord, StateFile(path, SCHEMA).read())
            except NotSupported as failure:
                log.error("APP record not read app=%s cause=%s", path.stem, failure)
                self._newer.add(path.stem)
                self._records[path.stem] = AppRecord(stopped=_says_stopped(path))
            except FieldgateError as failure:
                log.error("APP record set aside app=%s cause=%s", path.stem, failure)
                path.rename(path.with_suffix(".damaged"))

    def names(self) -> frozenset[str]:
        return frozenset(self._records)

    def get(self, app: str) -> AppRecord:
        """The record; the empty one for an APP that is not known."""
        return self._records.get(app, AppRecord())

    def require_writable(self, app: str) -> None:
        """NotSupported when what is put would be forgotten: for an order that must not be."""
        if app in self._newer:
            raise NotSupported(
                f"cannot write the record of {app}: a newer agent wrote it, and will find it again",
                hint="install the agent version that wrote it, or a newer one",
            )

    def put(self, app: str, record: AppRecord) -> None:
        with self._writing:
            if record != self._records.get(app):
                if app not in self._newer:
                    StateFile(self._directory / f"{app}.json", SCHEMA).write(to_wire(record))
                self._records[app] = record

    def change(self, app: str, change: Callable[[AppRecord], AppRecord]) -> AppRecord:
        """Put what `change` makes of the record as it is now; nothing when it raises."""
        with self._writing:
            record = change(self.get(app))
            self.put(app, record)
        return record

    def remove(self, app: str) -> None:
        with self._writing:
            if app in self._records:
                StateFile(self._directory / f"{app}.json", SCHEMA).remove()
                self._newer.discard(app)
                del self._records[app]

    def next_generation(self, app: str, at_least: int) -> int:
        """A generation that was never used. `at_least`: above every container that is there (a lost record)."""
        with self._writing:
            record = self.get(app)
            following = max(self._next_generation.get(app, record.reserved_generation), at_least)
            if app not in self._next_generation or following >= record.reserved_generation:
                self.put(app, replace(record, reserved_generation=following + GENERATION_BLOCK))
            self._next_generation[app] = following + 1
            return following


def _says_stopped(path: Path) -> bool:
    """Whether the operator stopped it, by a record of whatever schema: an APP that was stopped by hand is not started
    by a change of firmware."""
    try:
        return json.loads(read_limited(path, MAX_BYTES))["content"].get("stopped") is True
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return False
