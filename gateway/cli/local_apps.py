"""The APPs that were deployed on this gateway itself: their Compose documents, kept by `fieldgate deploy`.

    <state>/local/apps.json   the documents that the desired state of the authority `local` is made of

The agent keeps what it made of them, not the documents. A new set is on flash before the agent is asked, together with
the one before: after a sudden end the agent's own revision tells which of the two it has accepted.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway.errors import NotFound
from gateway.host.statefile import StateFile
from gateway.model.wire import from_wire, to_wire
from gateway.paths import Paths

SCHEMA: Final = 1

Documents = dict[str, dict[str, Any]]
"""By name of the APP."""


@dataclass(frozen=True, slots=True)
class _Kept:
    revision: int
    apps: Documents = field(default_factory=dict)
    before: Documents | None = None
    """What held until the agent accepts `revision`; None once it is known to have."""


class LocalApps:
    """Errors: Corrupted, NotSupported (a newer version of this command wrote it)."""

    def __init__(self, directory: Path) -> None:
        self._file = StateFile(directory / "apps.json", SCHEMA)

    def accepted(self, revision: int) -> Documents:
        """What is in force when the agent is at `revision` of the authority `local` (0: it has none)."""
        kept = self._read()
        return dict(kept.apps if kept.before is None or revision >= kept.revision else kept.before)

    def next_revision(self, revision: int) -> int:
        """One that was never used, when the agent is at `revision`."""
        return max(revision, self._read().revision) + 1

    def propose(self, revision: int, apps: Documents, before: Documents) -> None:
        """Durable: these are about to be sent with that revision."""
        self._write(_Kept(revision, apps, before))

    def confirm(self, revision: int, apps: Documents) -> None:
        """Durable: the agent has accepted them."""
        self._write(_Kept(revision, apps))

    def _read(self) -> _Kept:
        content = self._file.read()
        return _Kept(0) if content is None else from_wire(_Kept, content)

    def _write(self, kept: _Kept) -> None:
        self._file.write(to_wire(kept))


@contextmanager
def local_apps(paths: Paths) -> Iterator[LocalApps]:
    """One command at a time: a second one waits here. NotFound without a state directory."""
    if not paths.state.is_dir():
        raise NotFound(f"cannot find the state directory {paths.state}", hint="--state must be that of the agent")
    directory = paths.state / "local"
    directory.mkdir(mode=0o700, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield LocalApps(directory)
