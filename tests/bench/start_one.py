"""start_one: create and start one container (image unpacked) until its process runs; against Docker and podman.

Equal function: overlay, limits, seccomp, one bind mount.
"""

from __future__ import annotations

import time

from tests.bench.engine import BenchEngine
from tests.bench.figure import Figure, in_turns
from tests.bench.peers import Peer, docker, podman
from tests.bench.signal_pipe import SignalPipe


def measure(quick: bool) -> list[Figure]:
    n = 3 if quick else 15
    with BenchEngine() as ours, docker() as one, podman() as other:
        us, docker_ms, podman_ms = in_turns(
            [
                lambda index: start(ours, index),
                lambda _: start_peer(one, ours.pipe),
                lambda _: start_peer(other, ours.pipe),
            ],
            n,
        )
    return [
        Figure("start_one", us, "ms", n, docker_ms, one.name),
        Figure("start_one_podman", us, "ms", n, podman_ms, other.name),
    ]


def start(bench: BenchEngine, index: int) -> float:
    """Milliseconds."""
    spec = bench.spec("main", index + 1)
    began = time.perf_counter()
    bench.runner.run(bench.launch(spec))
    seconds = bench.pipe.wait() - began
    bench.runner.run(bench.engine.remove(spec.id))
    return seconds * 1000


def start_peer(peer: Peer, pipe: SignalPipe) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    container = peer.create(pipe.directory)
    peer.start(container)
    seconds = pipe.wait() - began
    peer.remove(container)
    return seconds * 1000
