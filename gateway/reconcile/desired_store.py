"""The accepted desired states on flash, one state file per authority: a boot needs neither network nor worker."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from gateway.errors import FieldgateError, NotSupported
from gateway.host.statefile import StateFile
from gateway.model import names
from gateway.model.desired import AcceptedDesired
from gateway.model.wire import from_wire, to_wire

log = logging.getLogger(__name__)

SCHEMA: Final = 1


class DesiredStore:
    """`current` is what is in force, by authority. `put` blocks for an fsync."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.current: dict[str, AcceptedDesired] = {}
        self.damaged: dict[str, str] = {}
        """Authority -> why its file could not be read. While there is one, no APP is taken for unwanted."""

    def load(self) -> None:
        """Read all files; a damaged one is set aside as `NAME.damaged` and reported, never taken for an empty one.

        One of a newer schema (the firmware went back) stays where it is, and counts as damaged meanwhile.
        """
        self.damaged = {path.stem: "its desired state was damaged" for path in self._directory.glob("*.damaged")}
        for path in sorted(self._directory.glob("*.json")):
            try:
                content = StateFile(path, SCHEMA).read()
                self.current[path.stem] = from_wire(AcceptedDesired, content)
            except NotSupported as failure:  # a newer agent wrote it, and will find it again
                log.error("desired state not read authority=%s cause=%s", path.stem, failure)
                self.damaged[path.stem] = str(failure)
            except FieldgateError as failure:
                log.error("desired state set aside authority=%s cause=%s", path.stem, failure)
                path.rename(path.with_suffix(".damaged"))
                self.damaged[path.stem] = str(failure)

    def put(self, accepted: AcceptedDesired) -> None:
        """Make it durable, then bring it into force."""
        authority = names.check(names.AUTHORITY, accepted.desired.authority, "authority")
        StateFile(self._directory / f"{authority}.json", SCHEMA).write(to_wire(accepted))
        self.current[authority] = accepted
        (self._directory / f"{authority}.damaged").unlink(missing_ok=True)
        self.damaged.pop(authority, None)
