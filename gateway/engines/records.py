"""What the engine remembers of each container, on tmpfs: enough for the next agent to find it again.

    containers/<id>/record.json   who it is (schema, app, service, generation, digest)
    containers/<id>/process.json  its main process: pid and start time, so that a pid that was used again is no mistake
    containers/<id>/started       made when its first instruction was let loose; holds the time
    containers/<id>/config.json, rootfs/, scratch/, pidfile, conmon.pid, ctr.log*
    exits/<id>                    the exit code, written by conmon

tmpfs is gone after a reboot, and so are the containers: nothing here needs an fsync.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.engines.base import ContainerSpec
from gateway.errors import Corrupted
from gateway.host.pids import ProcessId, identify
from gateway.model.wire import canonical

SCHEMA = 1
DEFAULT_STOP_SIGNAL = "SIGTERM"


@dataclass(frozen=True, slots=True)
class Record:
    """Who a container is."""

    app: str
    service: str
    generation: int
    digest: str
    stop_signal: str
    host: str = ""
    """The container that it lives in, and that one's main process."""
    host_pid: int = 0
    host_start_ticks: int = 0

    @property
    def host_process(self) -> ProcessId:
        return ProcessId(self.host_pid, self.host_start_ticks)


class Records:
    """The directory tree below `root`."""

    def __init__(self, root: Path) -> None:
        self._containers = root / "containers"
        self.exits = root / "exits"
        # What never changes again is read once: every round of the reconciler asks for all of it.
        self._known: dict[str, Record] = {}
        self._processes: dict[str, ProcessId] = {}
        self._started: dict[str, int] = {}

    def prepare(self) -> None:
        for directory in (self._containers, self.exits):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def directory(self, container: str) -> Path:
        return self._containers / container

    def log(self, container: str) -> Path:
        return self.directory(container) / "ctr.log"

    def names(self) -> list[str]:
        """Ids of all containers that have a directory."""
        return sorted(entry.name for entry in self._containers.iterdir()) if self._containers.is_dir() else []

    def create(self, spec: ContainerSpec) -> Path:
        """The bundle directory of a new container. FileExistsError if the id was used already."""
        directory = self.directory(spec.id)
        directory.mkdir(mode=0o700)
        for name in ("rootfs", "scratch"):
            (directory / name).mkdir(mode=0o755)
        record = {
            "schema": SCHEMA, "app": spec.app, "service": spec.service, "generation": spec.generation,
            "digest": spec.digest, "stop_signal": spec.stop_signal,
        }  # fmt: skip
        if spec.host is not None:
            process = identify(spec.host.pid)
            record |= {"host": spec.host.container, "host_pid": process.pid, "host_start_ticks": process.start_ticks}
        (directory / "record.json").write_bytes(canonical(record))
        return directory

    def read(self, container: str) -> Record:
        """Who it is. Corrupted when the directory has no readable record and no process: its creation was cut short.

        A complete container whose record cannot be read (a newer agent wrote it) is known by its id. Its digest matches
        nothing that is wanted, so it is replaced; if it were not seen at all, a second one would run beside it.
        """
        if container in self._known:
            return self._known[container]
        try:
            document = self._json(container, "record.json")
            schema = document.pop("schema", None)
            if schema != SCHEMA:
                raise Corrupted(f"cannot read the record of {container}: schema {schema} is not {SCHEMA}")
            record = self._known[container] = Record(**document)
            return record
        except (Corrupted, TypeError) as failure:
            if self.process(container) is None:
                raise Corrupted(str(failure)) from failure
            app, service, generation = container.split(".")
            return Record(app, service, int(generation), digest="", stop_signal=DEFAULT_STOP_SIGNAL)

    def set_process(self, container: str, pid: int) -> None:
        process = identify(pid)
        body = canonical({"pid": process.pid, "start_ticks": process.start_ticks})
        (self.directory(container) / "process.json").write_bytes(body)
        self._processes[container] = process

    def process(self, container: str) -> ProcessId | None:
        """The main process, alive or not; None when the container was never completely created."""
        if container not in self._processes:
            try:
                self._processes[container] = ProcessId(**self._json(container, "process.json"))
            except (Corrupted, TypeError):
                return None
        return self._processes[container]

    def process_description(self, container: str) -> dict[str, Any]:
        """How its main process was to be run: `process` of config.json. Corrupted."""
        process = self._json(container, "config.json").get("process")
        if not isinstance(process, dict):
            raise Corrupted(f"cannot read config.json of {container}: it has no process")
        return process

    def monitor(self, container: str) -> int:
        """Pid of its conmon; 0 when unknown."""
        try:
            return int((self.directory(container) / "conmon.pid").read_text())
        except (OSError, ValueError):
            return 0

    def set_started(self, container: str) -> None:
        self._started[container] = time.time_ns()
        (self.directory(container) / "started").write_text(str(self._started[container]))

    def unset_started(self, container: str) -> None:
        """It was about to be started, and was not."""
        self._started.pop(container, None)
        (self.directory(container) / "started").unlink(missing_ok=True)

    def started_ns(self, container: str) -> int:
        """0 when it was not started."""
        if container not in self._started:
            try:
                self._started[container] = int((self.directory(container) / "started").read_text())
            except (OSError, ValueError):
                return 0
        return self._started[container]

    def exit(self, container: str) -> tuple[int, int] | None:
        """(exit code, time in ns) once conmon has written it."""
        path = self.exits / container
        try:
            return int(path.read_text()), path.stat().st_mtime_ns
        except (OSError, ValueError):
            return None

    def remove(self, container: str) -> None:
        """Forget it. Its root file system must be unmounted already."""
        for known in (self._known, self._processes, self._started):
            known.pop(container, None)
        shutil.rmtree(self.directory(container), ignore_errors=True)
        (self.exits / container).unlink(missing_ok=True)

    def _json(self, container: str, name: str) -> dict[str, Any]:
        try:
            document = json.loads((self.directory(container) / name).read_bytes())
        except (OSError, ValueError) as failure:
            raise Corrupted(f"cannot read the record of {container}: {failure}") from failure
        if not isinstance(document, dict):
            raise Corrupted(f"cannot read the record of {container}: {name} is no object")
        return document
