"""All engines of the profile behind the one `Engine` protocol: by the container's spec, and by who lists its id.

One that does not answer must not hide the others: its containers, as far as they were seen before, are UNKNOWN, and
`away()` says why. Nobody plans for them until it answers. It is asked again with every `list()`, without waiting long.
Knows no engine by name: `agent.py` makes them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from gateway.engines.base import (
    ContainerExit,
    ContainerSpec,
    ContainerState,
    ContainerStatus,
    Engine,
    ExecResult,
    HostContainer,
    LogLine,
    Terminal,
    TerminalEngine,
)
from gateway.errors import FieldgateError, NotFound, NotSupported, Unavailable
from gateway.lifecycle.queue import NewsQueue
from gateway.model.profile import JOINING_ENGINES
from gateway.model.stats import ContainerStats

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S: Final = 5.0
"""An engine that has not listed its containers by then is away."""
AWAY_TIMEOUT_S: Final = 0.1
"""How long one that was away is waited for: the others' containers must not be."""
NEWS_LIMIT: Final = 1024


class _Member:
    """One engine, and whether it answers."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self.engine = engine
        self.away = ""
        """Why it does not answer; empty when it does."""
        self._prepared = False
        self._preparing = asyncio.Lock()
        self._seen: Sequence[ContainerStatus] = ()
        self._late: asyncio.Task[Sequence[ContainerStatus]] | None = None

    async def prepare(self) -> None:
        """Once; FieldgateError or OSError: not now, it is tried again with the next question."""
        async with self._preparing:
            if not self._prepared:
                await self.engine.prepare()
                self._prepared = True

    async def list(self) -> Sequence[ContainerStatus]:
        """What it has; when it does not answer what it had, UNKNOWN."""
        if self._late is not None:  # a question that is still open: no second one beside it
            await asyncio.wait({self._late}, timeout=AWAY_TIMEOUT_S)
            if not self._late.done():
                return self._unknown()
            await self.close()
        asking = asyncio.create_task(self._ask(), name=f"engine {self.name} list")
        try:
            await asyncio.wait({asking}, timeout=ANSWER_TIMEOUT_S)
        except asyncio.CancelledError:
            asking.cancel()
            raise
        if not asking.done():
            self._late = asking
            self._set_away(f"no answer within {ANSWER_TIMEOUT_S:g} s")
            return self._unknown()
        try:
            self._seen = asking.result()
        except (FieldgateError, OSError) as failure:
            self._set_away(failure.message if isinstance(failure, FieldgateError) else str(failure))
            return self._unknown()
        self._set_away("")
        return self._seen

    async def close(self) -> None:
        """Forget an open question; its answer would be an old one."""
        late, self._late = self._late, None
        if late is not None:
            late.cancel()
            await asyncio.gather(late, return_exceptions=True)

    def _unknown(self) -> Sequence[ContainerStatus]:
        return [replace(status, state=ContainerState.UNKNOWN, pid=0) for status in self._seen]

    async def _ask(self) -> Sequence[ContainerStatus]:
        await self.prepare()
        return await self.engine.list()

    def _set_away(self, cause: str) -> None:
        if cause and not self.away:
            log.error("engine does not answer engine=%s cause=%s", self.name, cause)
        elif self.away and not cause:
            log.info("engine answers again engine=%s", self.name)
        self.away = cause


class EngineRouter:
    """`engines` by name, the first is the default. Implements `Engine`."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        self._members = {name: _Member(name, engine) for name, engine in engines.items()}
        self._default = next(iter(engines))
        self._owners: dict[str, _Member] = {}
        self._news: NewsQueue[ContainerExit] = NewsQueue(NEWS_LIMIT)
        self._forwarders: list[asyncio.Task[None]] = []

    @property
    def name(self) -> str:
        """As in `oci, docker`."""
        return ", ".join(self._members)

    def away(self, engine: str) -> str:
        """Why that engine ("": the default) does not answer; empty when it does."""
        member = self._members.get(engine or self._default)
        return member.away if member else f"the profile's engines do not list {engine}"

    async def prepare(self) -> None:
        """All of them. One that cannot is away and tried again: fields and outbox go on without it."""
        for member in self._members.values():
            self._forwarders.append(asyncio.create_task(self._forward(member.engine), name=f"exits {member.name}"))
        await self.list()

    async def create(self, spec: ContainerSpec) -> None:
        member = self._members.get(spec.engine or self._default) if spec.host is None else self._joining(spec.host)
        if member is None and spec.host is not None:
            raise NotSupported(f"cannot create container {spec.id}: no engine here puts it into another: oci would")
        if member is None:
            raise NotSupported(f"cannot create container {spec.id}: no engine {spec.engine} here, only {self.name}")
        if member.away:
            raise Unavailable(f"cannot create container {spec.id}: engine {member.name} is away: {member.away}")
        await member.engine.create(spec)
        self._owners[spec.id] = member

    def _joining(self, host: HostContainer) -> _Member | None:
        """Who puts a container into that one: the host's own engine if it can, otherwise the first that can."""
        owner = self._owners.get(host.container)
        able = {name: member for name, member in self._members.items() if name in JOINING_ENGINES}
        return owner if owner in able.values() else next(iter(able.values()), None)

    async def start(self, container: str) -> None:
        await (await self._engine(container)).start(container)

    async def stop(self, container: str, grace_s: float) -> None:
        await (await self._engine(container)).stop(container, grace_s)

    async def kill(self, container: str, signal: str = "SIGKILL") -> None:
        await (await self._engine(container)).kill(container, signal)

    async def remove(self, container: str) -> None:
        try:
            engine = await self._engine(container)
        except NotFound:
            return
        await engine.remove(container)
        self._owners.pop(container, None)

    async def list(self) -> Sequence[ContainerStatus]:
        """Of all engines. Never fails because of one of them."""
        members = list(self._members.values())
        found: list[ContainerStatus] = []
        owners: dict[str, _Member] = {}
        for member, statuses in zip(members, await asyncio.gather(*(m.list() for m in members)), strict=True):
            found.extend(statuses)
            owners.update({status.id: member for status in statuses})
        self._owners = owners
        return found

    async def exec(self, container: str, argv: Sequence[str], timeout_s: float) -> ExecResult:
        return await (await self._engine(container)).exec(container, argv, timeout_s)

    async def open_terminal(
        self, container: str, argv: Sequence[str], rows: int, columns: int, term: str = "xterm"
    ) -> Terminal:
        """NotSupported when the engine that has the container cannot."""
        engine = await self._engine(container)
        if not isinstance(engine, TerminalEngine):
            raise NotSupported(f"cannot open a terminal in {container}: engine {engine.name} does not offer it")
        return await engine.open_terminal(container, argv, rows, columns, term)

    async def stats(self, container: str) -> ContainerStats:
        return await (await self._engine(container)).stats(container)

    async def logs(self, container: str, *, tail: int, follow: bool) -> AsyncIterator[LogLine]:
        engine = await self._engine(container)
        async for line in engine.logs(container, tail=tail, follow=follow):
            yield line

    def exits(self) -> AsyncIterator[ContainerExit]:
        return self._news

    async def close(self) -> None:
        for member in self._members.values():
            await member.close()
            await member.engine.close()
        await self._end_news()

    async def teardown(self) -> None:
        for member in self._members.values():
            await member.close()
            try:
                await member.engine.teardown()
            except (FieldgateError, OSError) as failure:
                log.error("cannot take down engine=%s cause=%s", member.name, failure)
        await self._end_news()

    async def _engine(self, container: str) -> Engine:
        """Who has it. NotFound; Unavailable when it may be with one that does not answer."""
        if container not in self._owners:
            await self.list()
        if (member := self._owners.get(container)) is not None:
            return member.engine
        for other in self._members.values():
            if other.away:
                raise Unavailable(f"cannot find container {container}: engine {other.name} is away: {other.away}")
        raise NotFound(f"cannot find container {container}")

    async def _forward(self, engine: Engine) -> None:
        async for news in engine.exits():
            self._news.put(news)

    async def _end_news(self) -> None:
        for task in self._forwarders:
            task.cancel()
        await asyncio.gather(*self._forwarders, return_exceptions=True)
        self._forwarders.clear()
        self._news.close()
