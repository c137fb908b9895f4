"""OciEngine: the `Engine` protocol on conmon, crun or runc, overlayfs and cgroups. Assembles the rooms of this package.

Every container lives in `<run>/engine/containers/<id>`, on tmpfs; a new agent reads the tree to find what runs.
Knows neither images' sources (it is handed a RootfsSource) nor APPs' rollouts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from gateway.engines import conmon, logs, monitored
from gateway.engines.base import (
    ContainerExit,
    ContainerSpec,
    ContainerState,
    ContainerStatus,
    ExecResult,
    LogLine,
    Mount,
    NetworkPort,
    RootfsSource,
    Terminal,
)
from gateway.engines.devices import device_node
from gateway.engines.exits import Exits
from gateway.engines.imagefiles import user_of
from gateway.engines.oci import bundle, joining, runtime
from gateway.engines.oci.guests import Guests
from gateway.engines.oci.namespace import MountNamespace
from gateway.engines.oci.options import OciOptions
from gateway.engines.oci.seccomp_filter import Filters, Told
from gateway.engines.process import capabilities_of
from gateway.engines.records import Record, Records
from gateway.engines.rootfs import mount_root
from gateway.engines.users import User
from gateway.errors import (
    Conflict,
    Corrupted,
    FieldgateError,
    InvalidInput,
    NotFound,
    NotSupported,
    ToolFailed,
    Unavailable,
)
from gateway.host import cgroup, cgroup_usage, mounts, pids
from gateway.model.image import Rootfs
from gateway.model.network import Attachment
from gateway.model.stats import ContainerStats

log = logging.getLogger(__name__)

KILL_WAIT_S: Final = 10.0


class OciEngine:
    """`run` is the engine's own directory on tmpfs; `runtimes` are tried in order; `log_bytes` bounds each log."""

    name = "oci"

    def __init__(
        self,
        run: Path,
        rootfs: RootfsSource,
        runtimes: Sequence[str],
        log_bytes: int,
        options: OciOptions | None = None,
        network: NetworkPort | None = None,
    ) -> None:
        self._run = run
        self._rootfs = rootfs
        self._runtimes = tuple(runtimes)
        self._log_bytes = log_bytes
        self._options = options or OciOptions()
        self._network = network
        self._records = Records(run)
        self._exits = Exits(self._records.exits)
        self._keeper = logs.Keeper()
        self._group, self._monitors_group = monitored.groups(run)

    @cached_property
    def _mode(self) -> cgroup.Mode:
        return cgroup.mode()

    @cached_property
    def _namespace(self) -> MountNamespace:
        crun_on_hybrid = self._mode is cgroup.Mode.HYBRID and Path(self._runtime_path).name == "crun"
        return MountNamespace(self._run / "namespace", private=crun_on_hybrid)

    @cached_property
    def _guests(self) -> Guests:
        return Guests(self._records, self._namespace, self._group)

    @cached_property
    def _runtime_path(self) -> str:
        return runtime.choose(self._runtimes)

    @cached_property
    def _runtime(self) -> runtime.Runtime:
        return runtime.Runtime(self._runtime_path, self._run / "runtime", self._namespace)

    @cached_property
    def _filters(self) -> Filters:
        precompiled = Path(self._runtime_path).name == "crun"
        return Filters(self._options.cache or self._run / "seccomp", precompiled=precompiled)

    async def prepare(self) -> None:
        self._records.prepare()
        self._runtime.root.mkdir(mode=0o700, exist_ok=True)
        await self._namespace.prepare()
        for group in (self._group, self._monitors_group):
            cgroup.make_parent(group)
        self._bound_all()
        favoured = self._options.favordynmods and self._favour_changes()
        self._exits.open()
        self._keeper.open()
        for container in self._records.names():
            await self._adopt(container)
        name = Path(self._runtime_path).name
        log.info("engine ready runtime=%s cgroups=%s favordynmods=%s", name, self._mode, favoured)

    def _bound_all(self) -> None:
        """What all containers may take together, whatever each of them may: the rest is for system and agent."""
        try:
            cgroup.limit(self._group, memory_bytes=self._options.memory_bytes, processes=self._options.processes)
        except OSError as refused:
            log.warning("containers together are not bounded, each is by its own limits cause=%s", refused)

    @staticmethod
    def _favour_changes() -> bool:
        try:
            return cgroup.favour_changes()
        except OSError as refused:
            log.info("cgroups stay as they are mounted: containers start slower cause=%s", refused)
            return False

    async def _adopt(self, container: str) -> None:
        """Take over a container of an earlier agent, or clear away one whose creation was cut short."""
        process = self._records.process(container)
        if process is None:
            log.warning("removing a half-created container id=%s", container)
            await self.remove(container)
            return
        if not self._records.started_ns(container) and await self._runtime.is_running(container):
            self._records.set_started(container)
        with contextlib.suppress(OSError):  # of one whose conmon made none
            self._keeper.watch(self._records.log(container))
        if process.alive():
            self._exits.watch(container, process)
        else:
            await self._guests.end_rest(container)

    async def create(self, spec: ContainerSpec) -> None:
        image = self._rootfs.rootfs(spec.image)
        told = await self._seccomp(spec)
        attached = await self._attach(spec)
        try:
            await self._create(spec, image, told, attached)
        except (ToolFailed, NotSupported) as failure:
            if not told.program or "seccomp" not in str(failure):
                raise
            self._filters.give_up(failure)
            await self._create(spec, image, await self._seccomp(spec), attached)

    async def _attach(self, spec: ContainerSpec) -> Attachment | None:
        """The service's network; None when it has none, or that of the container that it lives in."""
        if spec.network is None or spec.host is not None:
            return None
        if self._network is None:
            raise NotSupported(f"cannot create container {spec.id}: this engine was given no networks")
        return await self._network.attach(spec.app, spec.service, spec.network, spec.siblings)

    async def _seccomp(self, spec: ContainerSpec) -> Told:
        capabilities = capabilities_of(spec)
        known = self._filters.known(capabilities)
        return known if known is not None else await asyncio.to_thread(self._filters.tell, capabilities)

    async def _create(self, spec: ContainerSpec, image: Rootfs, told: Told, attached: Attachment | None) -> None:
        try:
            directory = self._records.create(spec)
        except FileExistsError:
            raise Conflict(f"cannot create container {spec.id}: it exists already") from None
        try:
            prepare = self._own if spec.host is None else self._guests.join
            made = await prepare(spec, image, directory)
            (directory / "config.json").write_text(json.dumps(self._config(*made, image, told, attached)))
            monitor = conmon.Monitor(
                spec.id, directory, self._records.exits, logs.file_bytes(self._log_bytes), self._namespace.executor,
                self._runtime.path, ("--root", str(self._runtime.root)), f"{self._monitors_group}/{spec.id}",
            )  # fmt: skip
            pid = await asyncio.to_thread(conmon.create, monitor)
            self._keeper.watch(self._records.log(spec.id))
            self._records.set_process(spec.id, pid)
            self._guests.check_host(spec.id)
            self._filters.check_taken(told, self._runtime.root / spec.id)
        except BaseException as failure:
            await asyncio.shield(self.remove(spec.id))
            if isinstance(failure, OSError):
                raise Unavailable(f"cannot create container {spec.id}: {failure}") from failure
            raise
        process = self._records.process(spec.id)
        if process is not None:
            self._exits.watch(spec.id, process)

    async def _own(
        self, spec: ContainerSpec, image: Rootfs, directory: Path
    ) -> tuple[ContainerSpec, User, joining.Joined | None]:
        """A root file system of its own below `directory`; what the bundle is made from."""
        if image.is_package:
            raise InvalidInput(f"cannot create {spec.id}: {spec.image} is a package: x-esdk.host says where it lives")
        await self._namespace.call(lambda: mount_root(directory, image.layers, spec.limits.root_bytes))
        user = user_of(spec.user or image.config.user, image.layers)
        if spec.network is not None:
            return spec, user, None
        hosts = directory / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {spec.service}\n::1 localhost {spec.service}\n")
        files = [Mount(hosts, "/etc/hosts", read_only=True)]
        if spec.host_network:
            files.append(Mount(Path("/etc/resolv.conf").resolve(), "/etc/resolv.conf", read_only=True))
        return replace(spec, mounts=(*files, *spec.mounts)), user, None

    def _config(
        self,
        spec: ContainerSpec,
        user: User,
        joined: joining.Joined | None,
        image: Rootfs,
        told: Told,
        attached: Attachment | None,
    ) -> dict[str, Any]:
        devices = tuple(device_node(path) for path in spec.devices)
        namespace = ""
        if attached is not None:
            files = (Mount(attached.hosts, "/etc/hosts", True), Mount(attached.resolv_conf, "/etc/resolv.conf", True))
            spec = replace(spec, mounts=(*files, *spec.mounts))
            namespace = self._namespace.path_to(attached.namespace)
        host = bundle.HostFacts(self._group, self._mode is cgroup.Mode.V2, devices, joined, namespace)
        return bundle.config(spec, image.config, user, told.section, host, told.annotations)

    async def start(self, container: str) -> None:
        self._record(container)
        await self._runtime.start(container)
        self._records.set_started(container)

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
        process = self._records.process(container)
        try:
            await self._runtime.kill(container, signal)
        except ToolFailed:
            if process is not None and process.alive():
                raise

    async def remove(self, container: str) -> None:
        if container not in self._records.names():
            return
        self._exits.forget(container)
        self._keeper.forget(self._records.log(container))
        monitor = pids.identify(self._records.monitor(container))
        await self._runtime.delete(container)
        if not await pids.wait_gone(monitor, monitored.EXIT_FILE_WAIT_S):
            log.warning("conmon outlives its container id=%s pid=%s", container, monitor.pid)
        await self._namespace.call(lambda: mounts.unmount_below(self._records.directory(container)))
        await self._namespace.call(lambda: cgroup.remove_stray(f"{self._group}/{container}"))
        for group in (self._group, self._monitors_group):
            with contextlib.suppress(OSError):  # the runtime removes its own, unless it was killed half-way
                await asyncio.to_thread(cgroup.remove, f"{group}/{container}")
        self._records.remove(container)

    async def list(self) -> Sequence[ContainerStatus]:
        found = []
        for container in self._records.names():
            with contextlib.suppress(Corrupted):
                found.append(self._status(container, self._records.read(container)))
        return found

    def _status(self, container: str, record: Record) -> ContainerStatus:
        found = monitored.status(self._records, container, record)
        host_ended = bool(record.host) and record.host_process.ending()
        oom_killed = found.state is ContainerState.EXITED and cgroup.oom_kills(f"{self._group}/{container}") > 0
        return replace(found, oom_killed=oom_killed, host=record.host, host_ended=host_ended)

    async def exec(self, container: str, argv: Sequence[str], timeout_s: float) -> ExecResult:
        self._record(container)
        # As the main process is: its user, environment, directory and capabilities. What the runtimes take by default
        # differs from one to the other and from that.
        process = self._records.process_description(container)
        return await self._runtime.exec(container, {**process, "args": list(argv)}, timeout_s)

    async def open_terminal(
        self, container: str, argv: Sequence[str], rows: int, columns: int, term: str = "xterm"
    ) -> Terminal:
        self._record(container)
        process = self._records.process_description(container)
        environment = [entry for entry in process.get("env", ()) if not entry.startswith("TERM=")]
        described = {**process, "args": list(argv), "env": [*environment, f"TERM={term}"], "terminal": True}
        return await self._runtime.open_terminal(container, described, rows, columns)

    async def stats(self, container: str) -> ContainerStats:
        self._record(container)
        process = self._records.process(container)
        if process is None or not process.alive():
            return ContainerStats()
        return cgroup_usage.usage(f"{self._group}/{container}")

    def logs(self, container: str, *, tail: int, follow: bool) -> AsyncIterator[LogLine]:
        self._record(container)
        return logs.read(self._records.log(container), tail=tail, follow=follow)

    async def exits(self) -> AsyncIterator[ContainerExit]:
        async for news in self._exits.news:
            await self._guests.end_rest(news.id)
            yield news

    async def close(self) -> None:
        self._exits.close()
        self._keeper.close()
        self._namespace.close()

    async def teardown(self) -> None:
        for container in self._records.names():
            try:
                await self.remove(container)
            except FieldgateError as failure:
                log.error("cannot remove container id=%s cause=%s", container, failure)
        self._exits.close()
        self._keeper.close()
        await self._namespace.call(lambda: cgroup.remove_stray(self._group))
        self._namespace.teardown()
        for group in (self._group, self._monitors_group):
            with contextlib.suppress(OSError):
                await asyncio.to_thread(cgroup.remove, group)

    def _record(self, container: str) -> Record:
        if container not in self._records.names():
            raise NotFound(f"cannot find container {container}")
        return self._records.read(container)
