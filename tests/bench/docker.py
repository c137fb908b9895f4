"""Docker Engine as a peer: a dockerd of the bench's own (data, sockets, containerd), driven over its HTTP API."""

from __future__ import annotations

import http.client
import io
import json
import shutil
import socket
import tarfile
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from gateway.errors import NotSupported, ToolFailed
from tests.site.processes import Daemon, accepts_unix

IMAGE = "fieldgate-bench"


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Docker:
    """A context: inside it one dockerd runs that has one image, busybox."""

    def __init__(self) -> None:
        if shutil.which("dockerd", path="/usr/sbin:/usr/bin") is None:
            raise NotSupported("cannot measure against Docker: dockerd is not installed", hint="apt install docker.io")
        self.directory = Path(tempfile.mkdtemp(prefix="fg-bench-", dir="/var/tmp"))
        self._socket = self.directory / "d.sock"
        argv = [
            "/usr/sbin/dockerd", "--data-root", str(self.directory / "data"), "--exec-root", str(self.directory / "x"),
            "--host", f"unix://{self._socket}", "--pidfile", str(self.directory / "pid"), "--iptables=false",
            "--ip6tables=false", "--bridge=none", "--ip-forward=false", "--log-level", "warn",
            "--config-file", str(self.directory / "none.json"),
        ]  # fmt: skip
        (self.directory / "none.json").write_text("{}")
        self._daemon = Daemon(argv, self.directory / "log", {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        self._connection = _Connection(self._socket)

    def __enter__(self) -> Docker:
        try:
            self._daemon.start(lambda: accepts_unix(self._socket), timeout_s=60)
            self.call("POST", f"/images/create?fromSrc=-&repo={IMAGE}&tag=1", _busybox_tar(), "application/x-tar")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._connection.close()
        self._daemon.stop(grace_s=20)  # it ends its containerd
        shutil.rmtree(self.directory, ignore_errors=True)

    def call(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        """ToolFailed with Docker's own words."""
        self._connection.request(method, path, body, {"Content-Type": kind})
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status >= 400:
            raise ToolFailed(["dockerd", method, path], answer.status, data.decode(errors="replace"))
        return data

    def create(self, script: str, bind: Path, restart: str = "no") -> str:
        """A container without network, with equal limits to ours; its id."""
        body: dict[str, Any] = {
            "Image": f"{IMAGE}:1",
            "Cmd": ["/bin/busybox", "sh", "-c", script],
            "HostConfig": {
                "NetworkMode": "none", "Binds": [f"{bind}:/signal"], "Memory": 32 << 20, "PidsLimit": 16,
                "RestartPolicy": {"Name": restart},
            },
        }  # fmt: skip
        return str(json.loads(self.call("POST", "/containers/create", json.dumps(body).encode()))["Id"])

    def start(self, container: str) -> None:
        self.call("POST", f"/containers/{container}/start")

    def pid(self, container: str) -> int:
        return int(json.loads(self.call("GET", f"/containers/{container}/json"))["State"]["Pid"])

    def remove(self, container: str) -> None:
        self.call("DELETE", f"/containers/{container}?force=1&v=1")


def _busybox_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
    return buffer.getvalue()
