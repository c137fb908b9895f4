"""crash_to_running: an APP's process is killed; until it runs again. Against `docker run --restart=always`."""

from __future__ import annotations

import os
import signal
import time

from tests.bench.docker import Docker
from tests.bench.figure import Figure, interleaved
from tests.bench.gateway import BenchGateway
from tests.bench.signal_pipe import SCRIPT

STEADY_S = 0.5
"""Between start and crash. Every round has a fresh container, so that nobody's backoff is measured."""


def measure(quick: bool) -> Figure:
    n = 3 if quick else 10
    with BenchGateway() as bench, Docker() as docker:
        us, peer = interleaved(lambda index: _ours(bench, index), lambda _: _docker(docker, bench), n)
    return Figure("crash_to_running", us, "ms", n, peer, "Docker Engine, restart=always")


def _ours(bench: BenchGateway, index: int) -> float:
    name = f"crash{index}"
    bench.deploy(name)
    time.sleep(STEADY_S)
    pid = bench.pid(name)
    began = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    seconds = bench.pipe.wait() - began
    bench.remove(name)
    return seconds * 1000


def _docker(docker: Docker, bench: BenchGateway) -> float:
    container = docker.create(SCRIPT, bench.pipe.directory, restart="always")
    docker.start(container)
    bench.pipe.wait()
    time.sleep(STEADY_S)
    pid = docker.pid(container)
    began = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    seconds = bench.pipe.wait() - began
    docker.remove(container)
    return seconds * 1000
