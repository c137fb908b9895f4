"""start_one: create and start one container (image unpacked, no network) until its process runs; against dockerd."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from pathlib import Path

from gateway.engines.base import ContainerSpec, Mount
from gateway.engines.oci.engine import OciEngine
from gateway.model.app import Limits
from tests.bench.docker import Docker
from tests.bench.figure import Figure, interleaved
from tests.bench.signal_pipe import SCRIPT, SignalPipe
from tests.conformance.rootfs import IMAGE, BusyboxImage


def measure(quick: bool) -> Figure:
    n = 3 if quick else 15
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    (directory / "signal").mkdir()
    pipe = SignalPipe(directory / "signal")
    engine = OciEngine(directory / "engine", BusyboxImage(directory / "image"), ["crun", "runc"], 64 << 10)
    try:
        with Docker() as docker, asyncio.Runner() as runner:
            runner.run(engine.prepare())
            try:
                us, peer = interleaved(
                    lambda index: _ours(runner, engine, pipe, index), lambda _: _docker(docker, pipe), n
                )
            finally:
                runner.run(engine.teardown())
    finally:
        pipe.close()
        shutil.rmtree(directory)
    return Figure("start_one", us, "ms", n, peer, "Docker Engine, HTTP API")


def _ours(runner: asyncio.Runner, engine: OciEngine, pipe: SignalPipe, index: int) -> float:
    spec = ContainerSpec(
        "bench", "main", index + 1, "sha256:1", IMAGE, command=("/bin/busybox", "sh", "-c", SCRIPT),
        limits=Limits(memory_bytes=32 << 20, pids=16), mounts=(Mount(pipe.directory, "/signal"),),
    )  # fmt: skip

    async def launch() -> None:
        await engine.create(spec)
        await engine.start(spec.id)

    began = time.perf_counter()
    runner.run(launch())
    seconds = pipe.wait() - began
    runner.run(engine.remove(spec.id))
    return seconds * 1000


def _docker(docker: Docker, pipe: SignalPipe) -> float:
    began = time.perf_counter()
    container = docker.create(SCRIPT, pipe.directory)
    docker.start(container)
    seconds = pipe.wait() - began
    docker.remove(container)
    return seconds * 1000
