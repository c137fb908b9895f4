"""Our engine alone, without an agent around it: for figures of what an engine does."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

from gateway.engines.base import ContainerSpec, Engine, Mount
from gateway.engines.oci.engine import OciEngine
from gateway.engines.oci.options import OciOptions
from gateway.model import network as model
from gateway.model.app import Limits
from gateway.model.profile import NetworkRange
from gateway.network.network import Network
from tests.bench.peers import MEMORY_BYTES, PIDS
from tests.bench.signal_pipe import SCRIPT, SignalPipe
from tests.conformance.rootfs import IMAGE, BusyboxImage


class BenchEngine:
    """A context. `pipe` tells when a container's process runs; `runner` runs the coroutines of engine and network."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
        (self.directory / "signal").mkdir()
        self.pipe = SignalPipe(self.directory / "signal")
        self.network = Network(self.directory / "network", self.directory / "addresses.json", NetworkRange())
        image, options = BusyboxImage(self.directory / "image"), OciOptions(favordynmods=True)
        self.engine: Engine = OciEngine(
            self.directory / "engine", image, ["crun", "runc"], 64 << 10, options, self.network
        )
        self.runner = asyncio.Runner()

    def __enter__(self) -> BenchEngine:
        self.network.recover()
        self.runner.run(self.engine.prepare())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.runner.run(self.engine.teardown())
        self.runner.run(self.network.teardown())
        self.runner.close()
        self.pipe.close()
        shutil.rmtree(self.directory)

    def spec(self, service: str, generation: int, port: int = 0) -> ContainerSpec:
        """Equal to `peers.Peer.create`."""
        network = model.Network(ports=(model.PublishedPort(port, 80),)) if port else None
        return ContainerSpec(
            "bench", service, generation, "sha256:1", IMAGE, command=("/bin/busybox", "sh", "-c", SCRIPT),
            limits=Limits(memory_bytes=MEMORY_BYTES, pids=PIDS), mounts=(Mount(self.pipe.directory, "/signal"),),
            network=network,
        )  # fmt: skip

    async def remove(self, spec: ContainerSpec) -> None:
        """With its network."""
        await self.engine.remove(spec.id)
        self.network.keep_only(())
        await self.network.release()

    async def launch(self, spec: ContainerSpec) -> None:
        await self.engine.create(spec)
        await self.engine.start(spec.id)
