"""esdk_call_p50: an APP publishes one sample, request to answer over its Unix socket; against FastAPI on uvicorn.

Both servers are processes of their own with uvloop and httptools, and both check the body; ours also checks the
grant, evaluates rules, publishes to the tag table and puts the sample into its window.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.figure import Figure
from tests.site.processes import Daemon, accepts_unix

CALLS = 200
"""Per round and side."""


class _Caller(http.client.HTTPConnection):
    """Keeps its connection, as `esdk` does."""

    def __init__(self, path: Path) -> None:
        super().__init__("esdk", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))

    def publish(self, value: float) -> float:
        """Microseconds until the answer was read."""
        body = json.dumps({"samples": [{"tag": "meter/power", "value": value, "unit": "W"}]}).encode()
        began = time.perf_counter_ns()
        self.request("POST", "/v1/tags", body, {"Content-Type": "application/json"})
        answer = self.getresponse()
        answer.read()
        took = (time.perf_counter_ns() - began) / 1000
        if answer.status != 200:
            raise RuntimeError(f"the server answered {answer.status}")
        return took


def measure(quick: bool) -> Figure:
    rounds = 3 if quick else 20
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    ours, peer = directory / "ours", directory / "fastapi"
    commands = [
        ("tests.site.esdk_process", str(ours), "app"),
        ("tests.bench.serve_fastapi", str(peer)),
    ]
    servers = [Daemon([sys.executable, "-m", *command], directory / f"{command[0]}.log") for command in commands]
    sockets = (ours / "app.main.1" / "esdk.sock", peer)
    try:
        for server, path in zip(servers, sockets, strict=True):
            server.start(lambda path=path: accepts_unix(path))  # type: ignore[misc]
        callers = [_Caller(path) for path in sockets]
        found: tuple[list[float], list[float]] = ([], [])
        for index in range(rounds + 1):
            for caller, figures in zip(callers, found, strict=True):
                took = [caller.publish(float(number)) for number in range(CALLS)]
                if index:
                    figures.extend(took)
        for caller in callers:
            caller.close()
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(directory)
    us, theirs = (statistics.median(figures) for figures in found)
    return Figure("esdk_call_p50", us, "µs", rounds * CALLS, theirs, "FastAPI on uvicorn")
