"""Containers that live in another container: made ready to join it, and ended completely when their main process ends.

`joining.py` does the mounts; `engine.py` creates, starts and watches them like all others.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

from gateway.engines.base import ContainerSpec, Mount
from gateway.engines.imagefiles import user_of
from gateway.engines.oci import joining
from gateway.engines.oci.namespace import MountNamespace
from gateway.engines.records import Records
from gateway.engines.users import User
from gateway.errors import Corrupted, Unavailable
from gateway.host import cgroup
from gateway.model.image import Rootfs


class Guests:
    """`group`: the cgroup that holds the engine's containers."""

    def __init__(self, records: Records, namespace: MountNamespace, group: str) -> None:
        self._records = records
        self._namespace = namespace
        self._group = group
        self._joining: dict[str, tuple[str, int]] = {}
        """Container that is being created -> host, uid: it has no process yet by which that could be seen."""

    async def join(
        self, spec: ContainerSpec, image: Rootfs, directory: Path
    ) -> tuple[ContainerSpec, User, joining.Joined | None]:
        """Mount what it takes from its host, and its package, below `directory`; what the bundle is made from.

        NotPermitted: its user is another's in there. NotSupported: that host cannot be joined. OSError: the host is
        gone, or its root cannot be used.
        """
        host = spec.host
        assert host is not None
        package, namespaces = joining.package_path(spec.app, spec.service), joining.namespaces_of(host.pid)

        def place() -> tuple[list[Mount], bool, User]:
            with joining.taken_trees(host.pid) as trees:
                own, read_only = joining.place(directory, trees, package, image.layers)
            uid = joining.own_uid(spec.app, spec.service)
            return own, read_only, user_of(spec.user or f"{uid}:{uid}", (directory / "rootfs",))

        own, read_only, user = await self._namespace.call(place)
        joining.check_uid(spec.id, user.uid, {host.container: joining.uid_of(host.pid), **self._uids(host.container)})
        self._joining[spec.id] = host.container, user.uid
        joined = joining.Joined(namespaces, package, tuple(own), read_only)
        return replace(spec, mounts=(*own, *spec.mounts)), user, joined

    def check_host(self, container: str) -> None:
        """Unavailable when the host has ended while it was joined: its pid may be somebody else's by now."""
        self._joining.pop(container, None)
        record = self._records.read(container)
        if record.host and record.host_process.ending():
            raise Unavailable(f"cannot create {container}: {record.host}, in which it is to live, has ended")

    async def end_rest(self, container: str) -> None:
        """In a container of its own the kernel ends all processes with the first one; in a host's it does not."""
        with contextlib.suppress(Corrupted):
            process = self._records.process(container)
            if self._records.read(container).host and process is not None and not process.alive():
                await asyncio.to_thread(cgroup.kill, f"{self._group}/{container}")

    def _uids(self, host: str) -> dict[str, int]:
        """Of what lives in that container and has not ended, or is about to."""
        names = self._records.names()
        self._joining = {name: claim for name, claim in self._joining.items() if name in names}
        uids = {name: uid for name, (claimed, uid) in self._joining.items() if claimed == host}
        for container in names:
            with contextlib.suppress(Corrupted, KeyError, TypeError):
                process = self._records.process(container)
                if self._records.read(container).host == host and process is not None and process.alive():
                    uids[container] = int(self._records.process_description(container)["user"]["uid"])
        return uids
