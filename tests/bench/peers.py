"""Docker Engine and podman as peers: daemons of the bench's own with a bridge network, driven over Docker's API."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import json
import os
import socket
import tarfile
from pathlib import Path
from types import TracebackType
from typing import Any

from gateway.errors import ToolFailed
from tests.bench.signal_pipe import SCRIPT
from tests.site.daemons import ApiDaemon, DockerDaemon, PodmanService
from tests.site.processes import pss_mb

IMAGE = "localhost/fieldgate-bench:1"
MEMORY_BYTES, PIDS = 32 << 20, 16
"""Limits of every container that is measured, the peers' and ours."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _NetworkedDocker(DockerDaemon):
    """With its default bridge and its rules: it must be in a network namespace of the bench's own."""

    WITHOUT = ("--iptables=false", "--ip6tables=false", "--bridge=none", "--ip-forward=false")

    def __init__(self) -> None:
        super().__init__()
        self._daemon.argv = [word for word in self._daemon.argv if word not in self.WITHOUT]


class Peer:
    """A context: inside it the daemon runs and has one image, busybox."""

    def __init__(self, daemon: ApiDaemon, name: str) -> None:
        self.name = name
        self._daemon = daemon
        self._connection = _Connection(daemon.socket)

    def __enter__(self) -> Peer:
        self._daemon.__enter__()
        try:
            self.call("POST", "/images/load", _image(), "application/x-tar")
        except BaseException:
            self._daemon.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(Exception):
            for entry in json.loads(self.call("GET", "/containers/json?all=1")):
                self.remove(entry["Id"])
        self._connection.close()
        self._daemon.__exit__(kind, value, trace)

    def connection(self) -> _Connection:
        """One more, for calls side by side; to be closed."""
        return _Connection(self._daemon.socket)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        kind: str = "application/json",
        connection: _Connection | None = None,
    ) -> bytes:
        """ToolFailed with the daemon's own words."""
        connection = connection or self._connection
        connection.request(method, path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        data = answer.read()
        if answer.status >= 400:
            raise ToolFailed([self.name, method, path], answer.status, data.decode(errors="replace"))
        return data

    def create(self, bind: Path, *, script: str = SCRIPT, restart: str = "no", port: int = 0) -> str:
        """A container with our limits; with a network and `port` published, or without a network. Its id."""
        host: dict[str, Any] = {
            "NetworkMode": "none", "Binds": [f"{bind}:/signal"], "Memory": MEMORY_BYTES, "PidsLimit": PIDS,
            "RestartPolicy": {"Name": restart},
        }  # fmt: skip
        body: dict[str, Any] = {"Image": IMAGE, "Cmd": ["/bin/busybox", "sh", "-c", script], "HostConfig": host}
        if port:
            host |= {"NetworkMode": "bridge", "PortBindings": {"80/tcp": [{"HostPort": str(port)}]}}
            body["ExposedPorts"] = {"80/tcp": {}}
        return str(json.loads(self.call("POST", "/containers/create", json.dumps(body).encode()))["Id"])

    def start(self, container: str, connection: _Connection | None = None) -> None:
        self.call("POST", f"/containers/{container}/start", connection=connection)

    def stop(self, container: str) -> None:
        self.call("POST", f"/containers/{container}/stop?t=0")

    def exec(self, container: str, argv: list[str]) -> int:
        """Its exit code, once its output has ended."""
        body = json.dumps({"Cmd": argv, "AttachStdout": True, "AttachStderr": True}).encode()
        made = json.loads(self.call("POST", f"/containers/{container}/exec", body))["Id"]
        connection = self.connection()
        with contextlib.closing(connection):
            self.call("POST", f"/exec/{made}/start", b'{"Detach": false, "Tty": false}', connection=connection)
        return int(json.loads(self.call("GET", f"/exec/{made}/json"))["ExitCode"])

    def pid(self, container: str) -> int:
        return int(json.loads(self.call("GET", f"/containers/{container}/json"))["State"]["Pid"])

    def remove(self, container: str) -> None:
        self.call("DELETE", f"/containers/{container}?force=1&v=1")

    def engine_mb(self) -> float:
        """PSS of the daemon and of every helper of it: whoever names its directory in the command line."""
        return mb_of(self._daemon.directory)


def docker() -> Peer:
    return Peer(_NetworkedDocker(), "Docker Engine, HTTP API")


def podman() -> Peer:
    return Peer(PodmanService(), "podman, HTTP API")


def mb_of(directory: Path) -> float:
    """PSS of all processes but this one that name `directory` in their command line, in MB of 10^6 bytes."""
    found = 0.0
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if not entry.name.isdecimal() or int(entry.name) == os.getpid():
                continue
            if os.fsencode(directory) in (entry / "cmdline").read_bytes():
                found += pss_mb(int(entry.name))
    return found


def _image() -> bytes:
    """busybox as `docker save` would write it."""
    layer = _tar({"bin/busybox": Path("/bin/busybox").read_bytes()})
    digest = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    config = {
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest]},
    }  # fmt: skip
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    files = {"config.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}
    return _tar({"layer.tar": layer, **files})


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
