"""DockerEngine: the `Engine` protocol on Docker's API. Assembles the rooms of this package.

Containers are found by their labels: instance (several agents may use one daemon) and boot. The daemon keeps containers
across a reboot, whose mounts are gone then; those of an earlier boot are removed, and the planner makes new ones, as on
every engine. While the daemon is away everything raises Unavailable; nothing is touched because it came back.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from gateway.engines.base import (
    ContainerExit,
    ContainerSpec,
    ContainerState,
    ContainerStatus,
    ExecResult,
    ExportSource,
    LogLine,
    Terminal,
)
from gateway.engines.devices import device_node
from gateway.engines.docker import networks, oom
from gateway.engines.docker.container import refuse_unsupported, request
from gateway.engines.docker.execution import Execution
from gateway.engines.docker.exits import Exits
from gateway.engines.docker.http import Api
from gateway.engines.docker.images import Images
from gateway.engines.docker.inspection import BOOT, INSTANCE, state_of, status_of
from gateway.engines.docker.logs import LineParser, frames
from gateway.engines.docker.networks import Networks
from gateway.engines.docker.oom import OomWatch
from gateway.engines.instance import instance_name
from gateway.errors import Conflict, FieldgateError, NotFound, TimedOut, ToolFailed, Unavailable
from gateway.host import cgroup_usage
from gateway.host.facts import boot_id
from gateway.model.stats import ContainerStats

log = logging.getLogger(__name__)

KILL_WAIT_S: Final = 10.0
REMOVE_WAIT_S: Final = 20.0
KILLED: Final = 128 + 9
LIST_TIMEOUT_S: Final = 10.0


class DockerEngine:
    """`run` names this agent's instance; `log_bytes` bounds each log."""

    name = "docker"

    def __init__(self, run: Path, socket: Path, source: ExportSource, log_bytes: int) -> None:
        self._group = instance_name(run)
        self._source = source
        self._log_bytes = log_bytes
        self._api = Api(socket)
        self._boot = boot_id()
        self._images = Images(self._api, source, self._group)
        self._networks = Networks(self._api, self._group)
        label = f"{INSTANCE}={self._group}"
        self._exits = Exits(self._api, label, self._list_ended, self._container_id, self._forget_status)
        self._oom = OomWatch()
        self._inspected: dict[str, tuple[str, ContainerStatus]] = {}
        """Id -> (state as listed, status): neither changes while the listed state does not, and no news comes."""

    async def prepare(self) -> None:
        version = await self._api.call("GET", "/version")
        await self._remove_earlier()
        await self._images.forget_unfinished()
        await self._exits.open()
        log.info("engine ready daemon=%s api=%s", version.get("Version"), version.get("ApiVersion"))

    async def create(self, spec: ContainerSpec) -> None:
        refuse_unsupported(spec, self.name)
        export = self._source.export(spec.image)
        for path in spec.devices:
            device_node(path)  # as every engine does when it creates; the daemon looks only when it starts
        membership = networks.decide(spec, self.name)
        image = await self._images.ensure(spec.image, export)
        bridges = await self._networks.ensure(spec.app, membership)
        network = networks.settings(spec, membership, bridges)
        body = request(spec, image, export.config, network, self._group, self._boot, self._log_bytes)
        try:
            await self._api.call("POST", "/containers/create", {"name": self._name(spec.id)}, body)
        except (Conflict, ToolFailed):
            if await self._exists(spec.id):
                raise Conflict(f"cannot create container {spec.id}: it exists already") from None
            raise
        except NotFound as failure:
            raise Unavailable(f"cannot create container {spec.id}: {failure.message}") from None
        except asyncio.CancelledError:
            await asyncio.shield(self._discard(spec.id))
            raise
        try:
            for bridge in bridges.names[1:]:
                await self._networks.connect(bridge, self._name(spec.id), spec.service)
        except BaseException:
            await asyncio.shield(self._discard(spec.id))
            raise

    async def start(self, container: str) -> None:
        await self._inspect(container)
        try:
            await self._api.call("POST", f"{self._path(container)}/start")
        except NotFound as failure:  # what it is to run
            raise ToolFailed(("docker", "start", container), 404, failure.message) from None
        document = await self._inspect(container)
        self._oom.watch(container, int(document["State"].get("Pid") or 0))

    async def stop(self, container: str, grace_s: float) -> None:
        document = await self._inspect(container)
        if state_of(document["State"]["Status"]) is not ContainerState.RUNNING:
            return
        await self.kill(container, document["Config"].get("StopSignal") or "SIGTERM")
        if not await self._wait_ended(container, grace_s):
            await self.kill(container, "SIGKILL")
            if not await self._wait_ended(container, KILL_WAIT_S):
                raise Unavailable(f"cannot stop {container}: it does not die of SIGKILL (uninterruptible I/O?)")

    async def kill(self, container: str, signal: str = "SIGKILL") -> None:
        try:
            await self._about(container, self._api.call("POST", f"{self._path(container)}/kill", {"signal": signal}))
        except (Conflict, ToolFailed):
            if status_of(await self._inspect(container)).state is ContainerState.RUNNING:
                raise

    async def remove(self, container: str) -> None:
        self._exits.forget(container)
        self._oom.forget(container)
        self._forget_status(container)
        async with asyncio.timeout(REMOVE_WAIT_S):
            while True:
                try:
                    await self._api.call("DELETE", self._path(container), {"force": "1", "v": "1"})
                except NotFound:
                    return
                except Conflict:  # its removal is under way
                    await asyncio.sleep(0.05)

    async def list(self) -> Sequence[ContainerStatus]:
        found = {}
        for entry in await self._listed(f"{INSTANCE}={self._group}", f"{BOOT}={self._boot}"):
            if (container := self._container_id(entry["Names"][0].lstrip("/"))) is None:
                continue
            word = str(entry["State"]).lower()
            known = self._inspected.get(container)
            if known is None or known[0] != word or known[1].state is not state_of(word):
                with contextlib.suppress(NotFound):
                    found[container] = (word, await self._status(container, await self._inspect(container)))
            else:
                found[container] = known
        self._inspected = found
        statuses = [status for _, status in found.values()]
        if await self._images.sweep():
            await self._networks.sweep({status.app for status in statuses})
        return statuses

    async def exec(self, container: str, argv: Sequence[str], timeout_s: float) -> ExecResult:
        execution = await self._about(container, Execution.create(self._api, self._path(container), argv))
        try:
            result: ExecResult = await execution.run(timeout_s)
        except TimedOut as failure:
            raise TimedOut(f"{failure.message} in {container}") from None
        return result

    async def open_terminal(
        self, container: str, argv: Sequence[str], rows: int, columns: int, term: str = "xterm"
    ) -> Terminal:
        options = {"AttachStdin": True, "Tty": True, "Env": [f"TERM={term}"]}
        creating = Execution.create(self._api, self._path(container), argv, **options)
        terminal: Terminal = await (await self._about(container, creating)).open_terminal(rows, columns)
        return terminal

    async def stats(self, container: str) -> ContainerStats:
        status = status_of(await self._inspect(container))
        if status.state is not ContainerState.RUNNING:
            return ContainerStats()
        return cgroup_usage.usage_of(status.pid)

    async def logs(self, container: str, *, tail: int, follow: bool) -> AsyncIterator[LogLine]:
        query = {"stdout": "1", "stderr": "1", "timestamps": "1"}
        if follow:
            async for line in self._log(container, {**query, "tail": str(tail), "follow": "1"}):
                yield line
            return
        last: collections.deque[LogLine] = collections.deque(maxlen=tail)
        # Not by the daemon's `tail`: podman 4 mixes lines up that came in pieces. The log is small.
        async for line in self._log(container, query):
            last.append(line)
        for line in last:
            yield line

    def exits(self) -> AsyncIterator[ContainerExit]:
        return self._exits.news

    async def close(self) -> None:
        self._oom.close()
        await self._exits.close()

    async def teardown(self) -> None:
        await self.close()
        for entry in await self._listed(f"{INSTANCE}={self._group}"):
            try:
                await self._api.call("DELETE", f"/containers/{entry['Id']}", {"force": "1", "v": "1"})
            except FieldgateError as failure:
                log.error("cannot remove container name=%s cause=%s", entry["Names"], failure)
        await self._networks.sweep(())
        await self._images.remove_all()

    def _name(self, container: str) -> str:
        return f"{self._group}.{container}"

    def _path(self, container: str) -> str:
        return f"/containers/{self._name(container)}"

    def _container_id(self, name: str) -> str | None:
        prefix = f"{self._group}."
        return name.removeprefix(prefix) if name.startswith(prefix) else None

    async def _listed(self, *labels: str) -> Sequence[dict[str, Any]]:
        query = {"all": "1", "filters": json.dumps({"label": labels})}
        return await self._api.call("GET", "/containers/json", query, timeout_s=LIST_TIMEOUT_S) or []

    async def _inspect(self, container: str) -> dict[str, Any]:
        document: dict[str, Any] = await self._about(container, self._api.call("GET", f"{self._path(container)}/json"))
        return document

    async def _about(self, container: str, call: Any) -> Any:
        """The daemon's NotFound in our words."""
        try:
            return await call
        except NotFound:
            raise NotFound(f"cannot find container {container}") from None

    async def _exists(self, container: str) -> bool:
        try:
            await self._inspect(container)
        except NotFound:
            return False
        return True

    async def _status(self, container: str, document: dict[str, Any]) -> ContainerStatus:
        status = status_of(document)
        if status.state is ContainerState.RUNNING:
            self._oom.watch(container, status.pid)
        elif status.exit_code == KILLED and not status.oom_killed:
            seen = self._oom.saw(container) or await asyncio.to_thread(oom.in_kernel_log, document["Id"])
            return replace(status, oom_killed=seen)
        return status

    def _forget_status(self, container: str) -> None:
        self._inspected.pop(container, None)

    async def _log(self, container: str, query: dict[str, str]) -> AsyncIterator[LogLine]:
        parser = LineParser()
        async with self._api.open("GET", f"{self._path(container)}/logs", query) as pieces:
            async for stream, data in frames(pieces):
                for line in parser.feed(stream, data):
                    yield line
        for line in parser.end():
            yield line

    async def _list_ended(self) -> Sequence[str]:
        return [status.id for status in await self.list() if status.state is ContainerState.EXITED]

    async def _remove_earlier(self) -> None:
        for entry in await self._listed(f"{INSTANCE}={self._group}"):
            if entry["Labels"].get(BOOT) != self._boot and state_of(str(entry["State"])) is not ContainerState.RUNNING:
                log.info("removing a container of an earlier boot name=%s", entry["Names"][0])
                await self._api.call("DELETE", f"/containers/{entry['Id']}", {"force": "1", "v": "1"})

    async def _wait_ended(self, container: str, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                query = {"condition": "not-running"}
                await self._api.call("POST", f"{self._path(container)}/wait", query, timeout_s=timeout_s + KILL_WAIT_S)
        except TimeoutError:
            return False
        except NotFound:
            return True
        return True

    async def _discard(self, container: str) -> None:
        try:
            await self.remove(container)
        except (FieldgateError, TimeoutError) as failure:
            log.warning("cannot remove a container whose creation was cut short id=%s cause=%s", container, failure)
