"""Binds, remembers and releases the endpoints of containers.

    <run>/endpoints/{container}/esdk.sock   the directory is mounted read-only at /run/esdk, never the socket file:
                                            a new agent makes a new socket, and a file mount would keep the dead one
    <run>/endpoints/.records/{container}    who it is and what it may do; not visible in the container

Everything lies on tmpfs, as the containers do. Serves nothing: `esdk_server/` takes the listening sockets.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.errors import FieldgateError, NotSupported, Unavailable
from gateway.host.statefile import StateFile
from gateway.lifecycle.queue import NewsQueue
from gateway.model.app import Grant
from gateway.model.wire import from_wire, to_wire

log = logging.getLogger(__name__)

BACKLOG: Final = 16
SOCKET_NAME: Final = "esdk.sock"
_RECORDS: Final = ".records"
_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """Whose endpoint it is, and what it may touch."""

    container: str
    app: str
    service: str
    generation: int
    version: str = ""
    grant: Grant = Grant()
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        """`app.service`: the same for all generations."""
        return f"{self.app}.{self.service}"


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """A bound endpoint. `released` is set when its container is gone: streams end then."""

    spec: EndpointSpec
    socket: socket.socket
    released: asyncio.Event


@dataclass(frozen=True, slots=True)
class EndpointChange:
    """News for the server: an endpoint was bound, or released (`bound` False; its socket is closed by the server)."""

    endpoint: Endpoint
    bound: bool


class Endpoints:
    """All endpoints of this agent, below `directory`. Belongs to one event loop; no method waits."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._records = directory / _RECORDS
        self._bound: dict[str, Endpoint] = {}
        self._changes: NewsQueue[EndpointChange] = NewsQueue(4096)

    def changes(self) -> NewsQueue[EndpointChange]:
        """News of every bind and release from the beginning. One consumer."""
        return self._changes

    def bind(self, spec: EndpointSpec) -> Path:
        """The directory to mount, with a listening socket in it. Fine if it is bound already. Unavailable."""
        directory = self._directory / spec.container
        if spec.container in self._bound:
            return directory
        try:
            self._records.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.mkdir(mode=0o755, exist_ok=True)
            listening = _listen(directory)
            StateFile(self._records / spec.container, _SCHEMA).write(to_wire(spec), durable=False)
        except OSError as failure:
            raise Unavailable(f"cannot bind the endpoint of {spec.container}: {failure}") from failure
        endpoint = Endpoint(spec, listening, asyncio.Event())
        self._bound[spec.container] = endpoint
        self._changes.put(EndpointChange(endpoint, bound=True))
        return directory

    def release(self, container: str) -> None:
        """Forget it, on disk, too; fine if it is not there."""
        endpoint = self._bound.pop(container, None)
        if endpoint is not None:
            endpoint.released.set()
            self._changes.put(EndpointChange(endpoint, bound=False))
        (self._records / container).unlink(missing_ok=True)
        shutil.rmtree(self._directory / container, ignore_errors=True)

    def recover(self) -> list[EndpointSpec]:
        """After a restart of the agent: bind again what is recorded. A damaged record is released.

        One of a newer agent (this one was put back) is left as it is, with its directory, which its container has
        mounted: nothing answers there until the container is replaced or the newer agent is back.
        """
        recovered = []
        for path in sorted(self._records.glob("*")) if self._records.is_dir() else ():
            if path.name.startswith("."):
                continue
            try:
                spec = from_wire(EndpointSpec, StateFile(path, _SCHEMA).read())
                self.bind(spec)
            except NotSupported as failure:
                log.error("endpoint not served container=%s cause=%s", path.name, failure)
            except FieldgateError as failure:
                log.error("endpoint lost container=%s cause=%s", path.name, failure)
                self.release(path.name)
            else:
                recovered.append(spec)
        return recovered

    def close(self) -> None:
        """The agent ends: sockets are closed, directories and records stay for the next one."""
        for endpoint in self._bound.values():
            endpoint.released.set()
            endpoint.socket.close()
        self._bound.clear()
        self._changes.close()


def _listen(directory: Path) -> socket.socket:
    """A listening Unix socket in `directory`, replacing the one of an earlier agent.

    Bound through /proc/self/fd: a path of more than 107 bytes does not fit into sockaddr_un.
    """
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        path = f"/proc/self/fd/{handle}/{SOCKET_NAME}"
        (directory / SOCKET_NAME).unlink(missing_ok=True)
        listening.bind(path)
        os.chmod(path, 0o666)  # any user of the container may call; the directory is in no other container
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    finally:
        os.close(handle)
    return listening
