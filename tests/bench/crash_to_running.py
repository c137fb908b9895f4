"""crash_to_running: an APP's process is killed; until it runs again. Against `docker run --restart=always`.

crash_to_running_standby: the same for a service with x-esdk.standby, whose next container waits.
"""

from __future__ import annotations

import os
import signal
import time

from tests.bench.figure import Figure, in_turns
from tests.bench.gateway import BenchGateway
from tests.bench.peers import Peer, docker
from tests.site.processes import wait_until

STEADY_S = 0.5
"""Between start and crash. Every round has a fresh container, so that nobody's backoff is measured."""


def measure(quick: bool) -> list[Figure]:
    n = 3 if quick else 10
    with BenchGateway() as bench, docker() as peer:
        normal, standby, theirs = in_turns(
            [
                lambda index: _ours(bench, f"crash{index}"),
                lambda index: _ours(bench, f"standby{index}", standby=True),
                lambda _: _docker(peer, bench),
            ],
            n,
        )
    name = "Docker Engine, restart=always"
    return [
        Figure("crash_to_running", normal, "ms", n, theirs, name),
        Figure("crash_to_running_standby", standby, "ms", n, theirs, name),
    ]


def _ours(bench: BenchGateway, name: str, *, standby: bool = False) -> float:
    bench.deploy(name, standby=standby)
    if standby:
        wait_until(lambda: bool(bench.report(name).get("spare")), "a spare", 30)
    time.sleep(STEADY_S)
    pid = bench.pid(name)
    began = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    seconds = bench.pipe.wait() - began
    bench.remove(name)
    return seconds * 1000


def _docker(peer: Peer, bench: BenchGateway) -> float:
    container = peer.create(bench.pipe.directory, restart="always")
    peer.start(container)
    bench.pipe.wait()
    time.sleep(STEADY_S)
    pid = peer.pid(container)
    began = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    seconds = bench.pipe.wait() - began
    peer.remove(container)
    return seconds * 1000
