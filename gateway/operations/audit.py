"""The record of what was ordered: a file that is only ever appended to, two lines per operation, bounded, durable.

The first line is on disk before anything is done, so that whatever happens it is known that it was begun. Blocks for an
fsync: called in a thread. A line that a power cut tore is passed over.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path
from typing import Final

from gateway.errors import FieldgateError, Unavailable
from gateway.host.files import fsync_directory
from gateway.model.audit import AuditEntry
from gateway.model.wire import canonical, from_wire, to_wire

log = logging.getLogger(__name__)

MAX_FILE_BYTES: Final = 128 << 10
"""When it is full it becomes `.1`, the one before is gone: at most twice this on the flash."""
MAX_ENTRIES: Final = 256
"""In memory, the newest."""
MAX_ARGUMENT_CHARS: Final = 2000


class Audit:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = path.with_name(path.name + ".1")
        self._entries: dict[str, AuditEntry] = {}
        self._writing = threading.Lock()

    def load(self) -> None:
        """Read what earlier agents wrote."""
        for path in (self._before, self._path):
            try:
                lines = path.read_bytes()[-2 * MAX_FILE_BYTES :].splitlines()
            except FileNotFoundError:
                continue
            for number, line in enumerate(lines):
                try:
                    self._keep(from_wire(AuditEntry, json.loads(line)))
                except (ValueError, RecursionError, FieldgateError) as failure:
                    log.warning("audit line passed over file=%s line=%d cause=%s", path.name, number + 1, failure)

    def entries(self) -> list[AuditEntry]:
        """Oldest first."""
        return list(self._entries.values())

    def find(self, identity: str) -> AuditEntry | None:
        return self._entries.get(identity)

    def write(self, entry: AuditEntry) -> None:
        """Make it durable: once when it begins, once when it has ended. Unavailable: then it must not be done."""
        line = canonical(to_wire(entry)) + b"\n"
        with self._writing:
            try:
                self._append(line)
            except OSError as failure:
                raise Unavailable(f"cannot record the operation in {self._path}: {failure.strerror}") from failure
            self._keep(entry)

    def _append(self, line: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            # What was torn must not swallow what follows it.
            whole = size == 0 or self._ends_with_a_line(size)
            os.write(descriptor, line if whole else b"\n" + line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if size == 0:
            fsync_directory(self._path.parent)
        if size + len(line) > MAX_FILE_BYTES:
            os.rename(self._path, self._before)
            fsync_directory(self._path.parent)

    def _ends_with_a_line(self, size: int) -> bool:
        with self._path.open("rb") as file:
            file.seek(size - 1)
            return file.read(1) == b"\n"

    def _keep(self, entry: AuditEntry) -> None:
        self._entries[entry.id] = entry
        while len(self._entries) > MAX_ENTRIES:
            del self._entries[next(iter(self._entries))]
