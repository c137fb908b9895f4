"""LxcEngine: the `Engine` protocol on the lxc tools, conmon, overlayfs and cgroups. Assembles this package's rooms.

Every container lives in `<run>/containers/<id>`, on tmpfs, which is a container path of lxc (`lxc-ls -P` shows it); a
new agent reads the tree to find what runs. The first process is lxc-start's child, lxc-start is conmon's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Final

from gateway.engines import conmon, logs, monitored
from gateway.engines.base import (
    ContainerExit,
    ContainerSpec,
    ContainerState,
    ContainerStatus,
    ExecResult,
    LogLine,
    NetworkPort,
    RootfsSource,
    Terminal,
)
from gateway.engines.exits import Exits
from gateway.engines.lxc import attach, bundle, tools
from gateway.engines.records import Record, Records
from gateway.errors import Conflict, Corrupted, FieldgateError, NotFound, NotSupported, Unavailable
from gateway.host import cgroup, cgroup_usage, mounts, pids
from gateway.model.network import Attachment
from gateway.model.stats import ContainerStats

log = logging.getLogger(__name__)

KILL_WAIT_S: Final = 10.0
END_WAIT_S: Final = 5.0
"""How long lxc-start and conmon may take to end after the container has."""


class LxcEngine:
    """`run` is the engine's own directory on tmpfs; `log_bytes` bounds each log; `network` makes routed networks."""

    name = "lxc"

    def __init__(self, run: Path, rootfs: RootfsSource, log_bytes: int, network: NetworkPort | None = None) -> None:
        self._rootfs = rootfs
        self._log_bytes = log_bytes
        self._network = network
        self._records = Records(run)
        self._exits = Exits(self._records.exits)
        self._keeper = logs.Keeper()
        self._group, self._monitors_group = monitored.groups(run)
        # Beside lxc's own: on cgroup v2 what is to be bounded must lie in a group without processes.
        self._writers_group = f"{self._monitors_group}-log"

    @cached_property
    def _mode(self) -> cgroup.Mode:
        return cgroup.mode()

    async def prepare(self) -> None:
        if shutil.which("lxc-start") is None or shutil.which("conmon") is None:
            raise NotSupported("cannot use engine lxc: lxc-start or conmon is missing", hint="apt install lxc conmon")
        self._records.prepare()
        for group in (self._group, self._writers_group):
            cgroup.make_parent(group)
        self._exits.open()
        self._keeper.open()
        for container in self._records.names():
            await self._adopt(container)
        log.info("engine ready runtime=lxc cgroups=%s", self._mode)

    async def _adopt(self, container: str) -> None:
        """Take over a container of an earlier agent, or clear away one whose creation was cut short."""
        process = self._records.process(container)
        if process is None:
            log.warning("removing a half-created container id=%s", container)
            await self.remove(container)
            return
        if self._records.started_ns(container) and tools.waits(process):
            self._records.unset_started(container)
        with contextlib.suppress(OSError):  # of one whose conmon made none
            self._keeper.watch(self._records.log(container))
        if process.alive():
            self._exits.watch(container, process)

    async def create(self, spec: ContainerSpec) -> None:
        if spec.host is not None:
            raise NotSupported(f"cannot create {spec.id}: engine lxc can be a host, but does not run what lives in one")
        image = self._rootfs.rootfs(spec.image)
        network = await self._attach(spec) if spec.network is not None else None
        try:
            directory = self._records.create(spec)
        except FileExistsError:
            raise Conflict(f"cannot create container {spec.id}: it exists already") from None
        groups = (self._group, self._monitors_group)
        try:
            await asyncio.to_thread(bundle.write, spec, image, directory, groups, self._mode is cgroup.Mode.V2, network)
            monitor = conmon.Monitor(
                spec.id, directory, self._records.exits, logs.file_bytes(self._log_bytes), None, "/bin/sh",
                (str(directory / "launch"),), f"{self._writers_group}/{spec.id}",
            )  # fmt: skip
            starter = await asyncio.to_thread(conmon.create, monitor)
            self._keeper.watch(self._records.log(spec.id))
            self._records.set_process(spec.id, await tools.created(directory, starter))
        except BaseException as failure:
            await asyncio.shield(self.remove(spec.id))
            if isinstance(failure, OSError):
                raise Unavailable(f"cannot create container {spec.id}: {failure}") from failure
            raise
        process = self._records.process(spec.id)
        if process is not None:
            self._exits.watch(spec.id, process)

    async def start(self, container: str) -> None:
        self._record(container)
        directory, process = self.directory(container), self._records.process(container)
        if process is None or self._records.started_ns(container):
            raise Conflict(f"cannot start {container}: it was started already")
        starter = pids.identify(self._starter(container))
        self._records.set_started(container)
        try:
            await tools.release(directory, "go")
            await tools.started(directory, process, starter)
        except FieldgateError:
            self._records.unset_started(container)
            await monitored.exit_written(self._records, container)
            raise

    async def stop(self, container: str, grace_s: float) -> None:
        record = self._record(container)
        process = self._records.process(container)
        if process is None or not process.alive():
            return
        await self.kill(container, record.stop_signal)
        if not await pids.wait_gone(process, grace_s):
            await self.kill(container, "SIGKILL")
            if not await pids.wait_gone(process, KILL_WAIT_S):
                raise Unavailable(f"cannot stop {container}: it does not die of SIGKILL (uninterruptible I/O?)")
        await monitored.exit_written(self._records, container)

    async def kill(self, container: str, signal: str = "SIGKILL") -> None:
        self._record(container)
        number = tools.signal_number(signal)
        process = self._records.process(container)
        if process is not None and tools.waits(process):
            await tools.release(self.directory(container), "no")  # lxc-start waits for its hook
        elif process is not None:
            tools.send(process, number)

    async def remove(self, container: str) -> None:
        if container not in self._records.names():
            return
        self._exits.forget(container)
        self._keeper.forget(self._records.log(container))
        directory = self.directory(container)
        await self._end(container)
        await asyncio.to_thread(mounts.unmount_below, directory)
        for group in (self._group, self._monitors_group, self._writers_group):
            with contextlib.suppress(OSError):  # lxc removes its own, unless it was killed half-way
                await asyncio.to_thread(cgroup.remove, f"{group}/{container}")
        tools.forget_lock(directory)
        self._records.remove(container)

    async def _end(self, container: str) -> None:
        """End its processes: the container's end is lxc-start's, and that conmon's. Whoever is left is killed."""
        directory, process = self.directory(container), self._records.process(container)
        with contextlib.suppress(FieldgateError):
            if process is not None and process.alive():
                await self.kill(container)
            elif process is None:
                await tools.release(directory, "no")
        starter = pids.identify(self._starter(container))
        if not await pids.wait_gone(starter, END_WAIT_S):
            log.warning("lxc-start outlives its container id=%s pid=%s", container, starter.pid)
        for group in (f"{self._monitors_group}/{container}", f"{self._group}/{container}"):
            await asyncio.to_thread(cgroup.kill, group)  # lxc-start, its hook, what is left inside
        if starter.pid:
            tools.send(starter, tools.signal_number("SIGKILL"))  # it had not got as far as that group
        monitor = pids.identify(self._records.monitor(container))
        if not await pids.wait_gone(monitor, END_WAIT_S):
            log.warning("conmon outlives its container id=%s pid=%s", container, monitor.pid)

    async def list(self) -> Sequence[ContainerStatus]:
        found = []
        for container in self._records.names():
            with contextlib.suppress(Corrupted):
                found.append(self._status(container, self._records.read(container)))
        return found

    def _status(self, container: str, record: Record) -> ContainerStatus:
        found = monitored.status(self._records, container, record)
        if found.state is not ContainerState.EXITED:
            return found
        directory = self.directory(container)
        code = tools.exit_code(directory, found.exit_code or 0)
        return replace(found, exit_code=code, oom_killed=tools.oom_killed(directory))

    async def exec(self, container: str, argv: Sequence[str], timeout_s: float) -> ExecResult:
        self._record(container)
        process = self._records.process_description(container)
        return await attach.execute(self.directory(container), process, argv, timeout_s)

    async def open_terminal(
        self, container: str, argv: Sequence[str], rows: int, columns: int, term: str = "xterm"
    ) -> Terminal:
        self._record(container)
        process = self._records.process_description(container)
        return await attach.open_terminal(self.directory(container), process, argv, rows, columns, term)

    async def stats(self, container: str) -> ContainerStats:
        self._record(container)
        process = self._records.process(container)
        if process is None or not process.alive():
            return ContainerStats()
        return cgroup_usage.usage(f"{self._group}/{container}")

    def logs(self, container: str, *, tail: int, follow: bool) -> AsyncIterator[LogLine]:
        self._record(container)
        return logs.read(self._records.log(container), tail=tail, follow=follow)

    def exits(self) -> AsyncIterator[ContainerExit]:
        return self._exits.news

    async def close(self) -> None:
        self._exits.close()
        self._keeper.close()

    async def teardown(self) -> None:
        for container in self._records.names():
            try:
                await self.remove(container)
            except FieldgateError as failure:
                log.error("cannot remove container id=%s cause=%s", container, failure)
        self._exits.close()
        self._keeper.close()
        for group in (self._group, self._monitors_group, self._writers_group):
            with contextlib.suppress(OSError):
                await asyncio.to_thread(cgroup.remove, group)

    async def _attach(self, spec: ContainerSpec) -> Attachment:
        if self._network is None or spec.network is None:
            raise NotSupported(f"cannot create {spec.id}: this engine has no networks")
        return await self._network.attach(spec.app, spec.service, spec.network, spec.siblings)

    def directory(self, container: str) -> Path:
        """Where the container is made: what lxc and conmon know of it."""
        return self._records.directory(container)

    def _starter(self, container: str) -> int:
        """Pid of its lxc-start; 0 when unknown."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.directory(container) / "pidfile").read_text())
        return 0

    def _record(self, container: str) -> Record:
        if container not in self._records.names():
            raise NotFound(f"cannot find container {container}")
        return self._records.read(container)
