"""start_one: create and start one container (image unpacked) until its process runs; against Docker and podman.

Equal function: overlay, a network of its own with one published port, limits, seccomp, one bind mount. Our network
worker runs already, as their daemons do; one that was idle and has ended takes a moment more.
"""

from __future__ import annotations

import time

from tests.bench.engine import BenchEngine
from tests.bench.figure import Figure, in_turns
from tests.bench.peers import Peer, docker, podman
from tests.bench.signal_pipe import SignalPipe

PORTS = (18080, 18081, 18082)
"""To be published: ours, Docker's, podman's."""


def measure(quick: bool) -> list[Figure]:
    n = 3 if quick else 15
    with BenchEngine() as ours, docker() as one, podman() as other:
        us, docker_ms, podman_ms = in_turns(
            [
                lambda index: start(ours, index, PORTS[0]),
                lambda _: start_peer(one, ours.pipe, PORTS[1]),
                lambda _: start_peer(other, ours.pipe, PORTS[2]),
            ],
            n,
        )
    return [
        Figure("start_one", us, "ms", n, docker_ms, one.name),
        Figure("start_one_podman", us, "ms", n, podman_ms, other.name),
    ]


def start(bench: BenchEngine, index: int, port: int = 0) -> float:
    """Milliseconds."""
    spec = bench.spec("main", index + 1, port)
    began = time.perf_counter()
    bench.runner.run(bench.launch(spec))
    seconds = bench.pipe.wait() - began
    bench.runner.run(bench.remove(spec))
    return seconds * 1000


def start_peer(peer: Peer, pipe: SignalPipe, port: int) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    container = peer.create(pipe.directory, port=port)
    peer.start(container)
    seconds = pipe.wait() - began
    peer.remove(container)
    return seconds * 1000
