"""An APP that wants to hurt the agent: its memory holds, its neighbours are answered, afterwards all is as before."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.site.processes import Daemon, accepts_unix, pss_mb, wait_until

MAX_GROWTH_MB = 8.0
CHUNK = bytes(1 << 16)
GET = b"GET /v1/app HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Agent:
    daemon: Daemon
    directory: Path

    def socket(self, app: str) -> Path:
        return self.directory / "endpoints" / f"{app}.main.1" / "esdk.sock"

    def connect(self, timeout_s: float = 5.0) -> socket.socket:
        """As the hostile APP."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout_s)
        connection.connect(str(self.socket("hostile")))
        return connection

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.daemon.pid}/fd").iterdir()))


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    argv = [sys.executable, "-m", "tests.site.esdk_process", str(directory / "endpoints"), "hostile", "good"]
    made = Agent(Daemon(argv, directory / "log"), directory)
    made.daemon.start(lambda: accepts_unix(made.socket("hostile")) and accepts_unix(made.socket("good")))
    try:
        publish(made.socket("good"))
        yield made
    finally:
        made.daemon.stop()
        shutil.rmtree(directory)


def publish(path: Path, body: bytes = b"") -> int:
    """One call of a decent APP on a connection of its own; the status."""
    connection = http.client.HTTPConnection("esdk", timeout=5)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(5)
    try:
        connection.sock.connect(str(path))
        sample = {"tag": "meter/power", "value": 1.0}
        connection.request("POST", "/v1/tags", body or json.dumps({"samples": [sample]}))
        return connection.getresponse().status
    finally:
        connection.close()


def pour(agent: Agent, head: bytes, megabytes: int, chunk: bytes = CHUNK) -> None:
    """Send as much as the agent takes."""
    with agent.connect() as connection, contextlib.suppress(OSError):
        connection.sendall(head)
        for _ in range(megabytes * 16):
            connection.sendall(chunk)


def endless_header(agent: Agent) -> None:
    pour(agent, b"GET /v1/app HTTP/1.1\r\nX-Long: ", 100, b"a" * len(CHUNK))


def huge_body(agent: Agent) -> None:
    pour(agent, b"POST /v1/tags HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n", 100)


def huge_chunks(agent: Agent) -> None:
    chunk = b"10000\r\n" + CHUNK + b"\r\n"
    pour(agent, b"POST /v1/tags HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 100, chunk)


def pipelined(agent: Agent) -> None:
    pour(agent, b"", 4, GET * (len(CHUNK) // len(GET)))


def many_connections(agent: Agent) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(300):
            with contextlib.suppress(OSError):
                held.enter_context(agent.connect()).sendall(GET[:10])


def deep_json(agent: Agent) -> None:
    assert publish(agent.socket("hostile"), b"[" * 200_000) == 400


def too_many_samples(agent: Agent) -> None:
    sample = json.dumps({"tag": "meter/a", "value": 1})
    body = ('{"samples": [' + ",".join([sample] * 5_000) + "]}").encode()
    assert publish(agent.socket("hostile"), body) in (400, 413)


def many_tags(agent: Agent) -> None:
    for number in range(60):
        samples = [{"tag": f"meter/{number}/{index}", "value": 1} for index in range(1000)]
        publish(agent.socket("hostile"), json.dumps({"samples": samples}).encode())


def deaf_readers(agent: Agent) -> None:
    """Streams of events that nobody reads, while tags are published."""
    with contextlib.ExitStack() as held:
        for _ in range(10):
            reader = held.enter_context(agent.connect())
            reader.sendall(b"GET /v1/tags/events HTTP/1.1\r\nHost: x\r\n\r\n")
        text = "x" * 900
        samples = [{"tag": f"meter/t{index}", "value": text} for index in range(100)]
        body = json.dumps({"samples": samples}).encode()
        for _ in range(150):
            publish(agent.socket("good"), body)


ATTACKS = (
    endless_header, huge_body, huge_chunks, pipelined, many_connections, deep_json, too_many_samples, many_tags,
    deaf_readers,
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: str(attack.__name__))
def test_memory_holds_and_neighbours_are_answered(agent: Agent, attack: Callable[[Agent], None]) -> None:
    before, open_before = pss_mb(agent.daemon.pid), agent.descriptors()
    peak, slowest, statuses = before, 0.0, set[int]()
    attacker = threading.Thread(target=attack, args=(agent,))
    attacker.start()
    while attacker.is_alive():
        began = time.monotonic()
        statuses.add(publish(agent.socket("good")))
        slowest = max(slowest, time.monotonic() - began)
        peak = max(peak, pss_mb(agent.daemon.pid))
        time.sleep(0.005)
    attacker.join()
    assert statuses <= {200}
    assert peak - before < MAX_GROWTH_MB, f"{before:.1f} MB before, {peak:.1f} MB at the peak"
    assert slowest < 2.0
    wait_until(lambda: agent.descriptors() <= open_before, "every connection closed", 15)
    assert publish(agent.socket("hostile")) in (200, 409), "and it is still served itself"
