"""boot_20_apps: twenty containers that do not run, until the twentieth process runs; against Docker.

The engine alone, as Docker's: who wants what, and since when, is no part of it (`boot_20_apps_by_agent` has that, too).
Both get SIDE_BY_SIDE orders at a time, on connections that are open already.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import Final

from gateway.engines.base import ContainerSpec
from tests.bench.engine import BenchEngine
from tests.bench.figure import Figure, in_turns
from tests.bench.peers import Peer, docker
from tests.bench.signal_pipe import SignalPipe

APPS: Final = 20
SIDE_BY_SIDE: Final = 4
"""More make both slower on two processors."""
PAUSE_S: Final = 1.0


def measure(quick: bool) -> Figure:
    n = 1 if quick else 5
    with BenchEngine() as ours, docker() as peer:
        theirs = [peer.create(ours.pipe.directory) for _ in range(APPS)]
        us, peer_ms = in_turns([lambda index: _ours(ours, index), lambda _: start_all(peer, theirs, ours.pipe)], n)
    return Figure("boot_20_apps", us, "ms", n, peer_ms, peer.name)


def _ours(bench: BenchEngine, index: int) -> float:
    specs = [bench.spec(f"app{number}", index + 1) for number in range(APPS)]

    async def all_of_them() -> None:
        turn = asyncio.Semaphore(SIDE_BY_SIDE)

        async def one(spec: ContainerSpec) -> None:
            async with turn:
                await bench.launch(spec)

        await asyncio.gather(*(one(spec) for spec in specs))

    time.sleep(PAUSE_S)
    began = time.perf_counter()
    bench.runner.run(all_of_them())
    seconds = bench.pipe.wait_for(APPS) - began
    for spec in specs:
        bench.runner.run(bench.engine.remove(spec.id))
    return seconds * 1000


def start_all(peer: Peer, containers: list[str], pipe: SignalPipe) -> float:
    """Milliseconds. They are stopped before."""
    for container in containers:
        peer.stop(container)
    time.sleep(PAUSE_S)
    waiting = list(containers)

    def start() -> None:
        with contextlib.closing(peer.connection()) as connection, contextlib.suppress(IndexError):
            while True:
                peer.start(waiting.pop(0), connection)

    orders = [threading.Thread(target=start) for _ in range(SIDE_BY_SIDE)]
    began = time.perf_counter()
    for order in orders:
        order.start()
    seconds = pipe.wait_for(APPS) - began
    for order in orders:
        order.join()
    return seconds * 1000
