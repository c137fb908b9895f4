"""Does one step of a plan with the engine, the image puller, the endpoints and the records. Decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Final, Protocol

from gateway.endpoints import Endpoints, EndpointSpec
from gateway.engines.base import ContainerSpec, Engine, HostContainer, Mount, container_id
from gateway.errors import Exhausted
from gateway.model.app import App, Service
from gateway.model.reports import Progress, ProgressKind
from gateway.reconcile.records import AppRecords
from gateway.reconcile.situation import Pulling
from gateway.reconcile.steps import Create, Pull, Remove, Start, Stop
from gateway.reconcile.view import HostView, service_digest

log = logging.getLogger(__name__)

SPARE_BYTES: Final = 4 << 20
"""Of a container that was created and waits: its monitor and the runtime's waiting process."""
ENDPOINT_TARGET: Final = "/run/esdk"


class PullProgress(Protocol):
    """`images.puller.PullProgress`."""

    @property
    def done_bytes(self) -> int: ...
    @property
    def total_bytes(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def layer(self) -> int: ...
    @property
    def layers(self) -> int: ...


class ImagePuller(Protocol):
    """`images.puller.Puller`."""

    def trouble(self, image: str) -> str: ...

    def pull(self, image: str) -> AsyncGenerator[PullProgress, None]: ...


class Executor:
    """`tell` takes Progress for the cloud; it never waits."""

    def __init__(
        self,
        engine: Engine,
        puller: ImagePuller,
        endpoints: Endpoints,
        records: AppRecords,
        volumes: Path,
        tell: Callable[[Progress], None],
    ) -> None:
        self._engine = engine
        self._puller = puller
        self._endpoints = endpoints
        self._records = records
        self._volumes = volumes
        self._tell = tell
        self._pulling: dict[str, tuple[str, PullProgress]] = {}

    async def pull(self, app: str, step: Pull) -> None:
        """All images of the step, one after the other."""
        try:
            for image in step.images:
                log.info("pulling app=%s image=%s", app, image)
                async with contextlib.aclosing(self._puller.pull(image)) as progress:
                    async for update in progress:
                        self._pulling[app] = image, update
                        self._tell(
                            Progress(
                                ProgressKind.PULL,
                                app=app,
                                image=image.partition("@")[0],
                                text=update.text,
                                done_bytes=update.done_bytes,
                                total_bytes=update.total_bytes,
                            )
                        )
        finally:
            self._pulling.pop(app, None)

    def pulling(self, app: str) -> Pulling | None:
        """How far its pull is; None while nothing is pulled for it."""
        if (known := self._pulling.get(app)) is None:
            return None
        image, progress = known
        return Pulling(
            image.partition("@")[0], progress.text, progress.layer, progress.layers, progress.done_bytes,
            progress.total_bytes, self._puller.trouble(image),
        )  # fmt: skip

    async def create(self, app: App, step: Create) -> str:
        """Endpoint first, then the container; the id of the new container. Leaves neither behind when it fails."""
        service = step.service
        generation = await asyncio.to_thread(self._records.next_generation, app.name, step.at_least)
        container = container_id(app.name, service.name, generation)
        endpoint = EndpointSpec(
            container, app.name, service.name, generation, app.version, service.esdk, dict(service.settings)
        )
        directory = self._endpoints.bind(endpoint)
        try:
            await self._engine.create(self._container(app, service, generation, directory, step.host))
        except BaseException:
            self._endpoints.release(container)
            raise
        log.info("container created id=%s%s", container, " spare" if step.spare else "")
        return container

    async def start(self, step: Start) -> None:
        await self._engine.start(step.container)
        log.info("container started id=%s", step.container)

    async def stop(self, step: Stop) -> None:
        log.info("stopping container id=%s reason=%s", step.container, step.reason)
        await self._engine.stop(step.container, step.grace_s)

    async def remove(self, step: Remove) -> None:
        await self._engine.remove(step.container)
        self._endpoints.release(step.container)
        log.info("container removed id=%s", step.container)

    def _container(
        self, app: App, service: Service, generation: int, endpoint: Path, host: HostView | None
    ) -> ContainerSpec:
        volumes = [Mount(self._volume(app.name, v.volume), v.target, v.read_only) for v in service.volumes]
        binds = [Mount(Path(b.source), b.target, b.read_only) for b in service.binds]
        return ContainerSpec(
            app=app.name,
            service=service.name,
            generation=generation,
            digest=service_digest(app.name, service),
            image=service.image,
            command=service.command,
            entrypoint=service.entrypoint,
            environment=service.environment,
            user=service.user,
            working_dir=service.working_dir,
            read_only=service.read_only,
            stop_signal=service.stop_signal,
            limits=service.limits,
            # The directory is mounted, never the socket file: a new agent makes a new socket in it.
            mounts=(Mount(endpoint, ENDPOINT_TARGET, read_only=True), *volumes, *binds),
            tmpfs=service.tmpfs,
            devices=service.devices,
            cap_add=service.cap_add,
            cap_drop=service.cap_drop,
            host=HostContainer(host.container, host.pid) if host is not None else None,
            host_network=service.host_network,
            engine=service.engine,
            network=service.network,
            siblings=tuple(s.name for s in app.services if s.network is not None and s.name != service.name),
        )

    def _volume(self, app: str, name: str) -> Path:
        directory = self._volumes / app / name
        if not directory.is_dir():
            directory.mkdir(parents=True)
            directory.chmod(0o777)  # the container's user is whoever the image says; the parents are root's only
        return directory


def check_memory(app: App, others: list[App], total_bytes: int, reserved_bytes: int) -> None:
    """Exhausted when the memory limits of all APPs and what the system keeps do not fit into the RAM. Pure."""
    wanted = _limits(app)
    taken = sum(_limits(other) for other in others)
    free = total_bytes - reserved_bytes - taken
    if wanted > free:
        raise Exhausted(
            f"cannot start {app.name}: its memory limits are {wanted >> 20} MiB, but {max(0, free) >> 20} MiB are free"
            f" (RAM {total_bytes >> 20} MiB, system {reserved_bytes >> 20} MiB, other APPs {taken >> 20} MiB)"
        )


def _limits(app: App) -> int:
    """A spare uses the limit of the one that it replaces only when that has gone."""
    return sum((service.limits.memory_bytes or 0) + SPARE_BYTES * service.standby for service in app.services)
