"""exec: run `true` in a running container to its end, with its exit code; against Docker's exec API."""

from __future__ import annotations

import time

from tests.bench.engine import BenchEngine
from tests.bench.figure import Figure, in_turns
from tests.bench.peers import Peer, docker

ARGV = ["/bin/busybox", "true"]


def measure(quick: bool) -> Figure:
    n = 3 if quick else 20
    with BenchEngine() as ours, docker() as peer:
        spec = ours.spec("main", 1)
        ours.runner.run(ours.launch(spec))
        ours.pipe.wait()
        theirs = peer.create(ours.pipe.directory)
        peer.start(theirs)
        ours.pipe.wait()
        us, peer_ms = in_turns([lambda _: _ours(ours, spec.id), lambda _: _peer(peer, theirs)], n)
    return Figure("exec", us, "ms", n, peer_ms, peer.name)


def _ours(bench: BenchEngine, container: str) -> float:
    began = time.perf_counter()
    done = bench.runner.run(bench.engine.exec(container, ARGV, 10.0))
    seconds = time.perf_counter() - began
    assert done.exit_code == 0, done.output
    return seconds * 1000


def _peer(peer: Peer, container: str) -> float:
    began = time.perf_counter()
    code = peer.exec(container, ARGV)
    seconds = time.perf_counter() - began
    assert code == 0, f"{peer.name} says {code}"
    return seconds * 1000
