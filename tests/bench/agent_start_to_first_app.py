"""agent_start_to_first_app: power comes back, no network; from the agent's start until its APP's process runs."""

from __future__ import annotations

import statistics
import time

from tests.bench.figure import Figure
from tests.bench.gateway import BenchGateway


def measure(quick: bool) -> Figure:
    n = 3 if quick else 10
    found = []
    with BenchGateway() as bench:
        bench.deploy("first")
        bench.registry.stop()
        for _ in range(n + 1):
            bench.gateway.down()  # containers, mounts and sockets go, as at a power cut; what is on flash stays
            began = time.perf_counter()
            bench.gateway.start()
            found.append((bench.pipe.wait() - began) * 1000)
    return Figure("agent_start_to_first_app", statistics.median(found[1:]), "ms", n)
