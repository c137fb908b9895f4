"""The reconciler of one agent on a state directory and a machine that both outlive it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.endpoints import Endpoints
from gateway.engines.router import EngineRouter
from gateway.engines.simulated.engine import SimulatedEngine
from gateway.engines.simulated.machine import Machine
from gateway.errors import Unavailable
from gateway.images.puller import PullProgress
from gateway.lifecycle.queue import NewsQueue
from gateway.model.app import App, HealthCheck, Restart, Service
from gateway.model.desired import AcceptedDesired, Desired
from gateway.model.reports import AppReport
from gateway.paths import Paths
from gateway.reconcile.desired_store import DesiredStore
from gateway.reconcile.execute import Executor
from gateway.reconcile.loop import News, Reconciler
from gateway.reconcile.records import AppRecords

CHECK = HealthCheck(("true",), interval_s=0.05, timeout_s=1, retries=2)


def service(image: str, name: str = "main", **changes: object) -> Service:
    base: dict[str, object] = {"restart": Restart.ALWAYS, "healthcheck": CHECK}
    return Service(name, f"registry.test/{image}@sha256:{'0' * 64}", **{**base, **changes})  # type: ignore[arg-type]


def app(image: str, name: str = "app", **changes: object) -> App:
    return App(name, (service(image, "main", **changes),), version=image)


@dataclass
class Images:
    """Which images are here, and which can be had."""

    present: set[str] = field(default_factory=set)
    online: bool = True
    kept: frozenset[str] = frozenset()

    def has(self, image: str) -> bool:
        return image in self.present

    def remove_unreferenced(self, keep: frozenset[str]) -> int:
        self.kept = keep
        return 0

    def trouble(self, image: str) -> str:
        return ""

    async def pull(self, image: str) -> AsyncGenerator[PullProgress, None]:
        if not self.online:
            raise Unavailable("cannot reach the registry")
        yield PullProgress(0, 10, "pulling")
        await asyncio.sleep(0)
        self.present.add(image)


@dataclass
class Site:
    """A gateway without its agent: state on disk, containers on the machine, images."""

    directory: Path
    machine: Machine = field(default_factory=Machine)
    images: Images = field(default_factory=Images)
    revision: int = 0

    @property
    def paths(self) -> Paths:
        return Paths(self.directory / "state", self.directory / "run")

    def desire(self, *apps: App, authority: str = "cloud") -> None:
        """Make these the desired APPs of an authority, on disk."""
        self.paths.prepare()
        self.revision += 1
        desired = Desired("gw", "1", authority, self.revision, apps)
        store = DesiredStore(self.paths.desired)
        store.put(AcceptedDesired(desired, f"sha256:{self.revision}", ("key",)))

    @asynccontextmanager
    async def agent(self, permitted: Callable[[Desired], None] = lambda desired: None) -> AsyncIterator[Reconciler]:
        """An agent from its start to its sudden end. `permitted` is what its profile says."""
        self.paths.prepare()
        engine, endpoints = EngineRouter({"simulated": SimulatedEngine(self.machine)}), Endpoints(self.paths.endpoints)
        await engine.prepare()
        desired, records = DesiredStore(self.paths.desired), AppRecords(self.paths.apps)
        desired.load()
        records.load()
        endpoints.recover()
        news: NewsQueue[News] = NewsQueue(10_000)
        executor = Executor(engine, self.images, endpoints, records, self.paths.volumes, news.put)
        reconciler = Reconciler(
            engine, self.images, executor, desired, records, self.paths.volumes, (1 << 30, 1 << 20), news, permitted,
            engine.away,
        )  # fmt: skip
        task = asyncio.create_task(reconciler.run())
        try:
            yield reconciler
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            endpoints.close()
            async for change in endpoints.changes():  # as the server does
                change.endpoint.socket.close()
            await engine.close()


async def until(condition: Callable[[], bool], timeout_s: float = 8.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


def report(reconciler: Reconciler, name: str = "app") -> AppReport | None:
    return next((entry for entry in reconciler.reports() if entry.app == name), None)
