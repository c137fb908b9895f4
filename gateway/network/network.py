"""Network: gives each service its link, keeps links and rules as they should be, removes what nobody needs.

What is wanted is remembered on tmpfs, so that a new agent finds it; the kernel keeps it working without any agent. A
check of a millisecond every CHECK_S sees what somebody else changed; the worker is asked only then.
Used by engines (as their `NetworkPort`), the reconciler (`keep_only`) and `agent.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gateway.errors import Conflict, FieldgateError
from gateway.host import netns
from gateway.model import network as model
from gateway.model.profile import NetworkRange
from gateway.network import files, ports, present, ruleset
from gateway.network.caller import WorkerCaller
from gateway.network.ipam import Slots
from gateway.network.layout import GATEWAY_SLOT, Layout, Link, key
from gateway.network.names import LookUp, Names, look_up
from gateway.network.remembered import Remembered, load, rewrite, save
from gateway.network.watch import Watch

log = logging.getLogger(__name__)

CHECK_S: Final = 5.0
FIRST_ANSWER_S: Final = 1.0
"""How long a new link waits for names that were never looked up."""
DEFAULT_RUN: Final = Path("/run/fieldgate/network")
RESOLV_CONF: Final = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
_IPV6_OFF: Final = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")


class Network:
    """A part, and a NetworkPort. `run` is its own directory on tmpfs, `slots` its file on flash."""

    name = "network"

    def __init__(self, run: Path, slots: Path, ranges: NetworkRange, look_up: LookUp = look_up) -> None:
        self._run = run
        self._file = run / "links.json"
        # Several agents may share one machine (tests do): each has its own table and interface names.
        instance = "" if run == DEFAULT_RUN else hashlib.sha256(os.fsencode(run)).hexdigest()[:4]
        self._layout = Layout(ranges, instance, ipv6=_has_ipv6())
        self._slots = Slots(slots, self._layout.slots)
        self._worker = WorkerCaller()
        self._watch = Watch(self._layout, self._worker)
        self._links: dict[str, Link] = {}
        self._look_up = look_up
        self._names = Names(look_up)
        self._servers: tuple[str, ...] = ()
        self._contents: ruleset.Contents | None = None
        """What is in the table; None when that is not known."""
        self._forwarding_begun: tuple[str, ...] | None = None
        self._unneeded: set[str] = set()
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()

    def recover(self) -> None:
        """Take over what an earlier agent made; its links work on as they are."""
        self._run.mkdir(mode=0o700, parents=True, exist_ok=True)
        remembered = load(self._file)
        self._links = {link.key: link for link in remembered.links}
        self._names = Names(self._look_up, remembered.names)
        self._servers = _name_servers()
        if self._file.exists():
            self._forwarding_begun = remembered.forwarding_begun
        try:
            self._slots.load()
        except FieldgateError as failure:
            log.error("addresses not remembered cause=%s", failure)
        self._slots.known.update({link.key: link.slot for link in remembered.links})

    # What engines and the reconciler ask for

    async def attach(self, app: str, service: str, network: model.Network, siblings: Sequence[str]) -> model.Attachment:
        """As `NetworkPort` says: made once, found again by every later generation."""
        name = key(app, service)
        await self._claim([name, *(key(app, sibling) for sibling in siblings)])
        link = Link(app, service, self._slots.known[name], network, tuple(siblings))
        await self._first_answers(link)
        async with self._lock:
            self._unneeded.discard(name)
            if self._links.get(name) != link or self._lost([link]):
                await self._take_in(link)
        return model.Attachment(self._pin(link), self._hosts(link), self._resolv_conf(link))

    def keep_only(self, services: Collection[tuple[str, str]], busy: Collection[str] = ()) -> None:
        """All other links may go, but those of APPs that are `busy`."""
        keep = {key(*service) for service in services}
        self._unneeded = {name for name, link in self._links.items() if name not in keep and link.app not in busy}
        if self._unneeded:
            self._wake.set()

    async def release(self) -> None:
        """Remove what `keep_only` has found."""
        async with self._lock:
            gone = [self._links[name] for name in sorted(self._unneeded) if name in self._links]
            if not gone:
                return
            links = {name: link for name, link in self._links.items() if link not in gone}
            await self._apply(links, [self._removal(link) for link in gone])
            self._unneeded.clear()
            for link in gone:
                shutil.rmtree(self._directory(link), ignore_errors=True)
            log.info("networks removed services=%s", ",".join(link.key for link in gone))

    def links(self) -> dict[str, list[str]]:
        """Service (`app.service`) -> its addresses."""
        return {name: self._layout.addresses(link.slot) for name, link in sorted(self._links.items())}

    # The part

    async def run(self) -> None:
        names = asyncio.create_task(
            self._keep(lambda: self.follow_names(time.monotonic()), asyncio.Event()), name="network names"
        )
        try:
            await self._keep(self.check, self._wake)
        finally:
            names.cancel()
            await asyncio.gather(names, return_exceptions=True)

    async def _keep(self, look: Callable[[], Awaitable[None]], wake: asyncio.Event) -> None:
        """Again and again: every CHECK_S, and when it is woken."""
        while True:
            wake.clear()
            try:
                await look()
            except FieldgateError as failure:
                log.warning("cannot keep the network as it should be cause=%s", " ".join(str(failure).split()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_S):
                    await wake.wait()

    async def check(self) -> None:
        """Remove what is unneeded, follow the gateway's name servers, restore what somebody else has changed."""
        await self.release()
        servers = _name_servers()
        async with self._lock:
            if servers != self._servers:
                self._servers = servers
                await self._apply(self._links)
            await self._repair()

    async def follow_names(self, now: float) -> None:
        """Ask for the names that are due; rules and hosts files follow. `now`: seconds of the monotonic clock."""
        wanted = {entry.host for link in self._links.values() for entry in link.network.egress if entry.is_name}
        self._names.keep_only(wanted)
        if await self._names.refresh(wanted, now):
            async with self._lock:
                await self._apply(self._links)

    async def _repair(self) -> None:
        if not self._links:
            return
        if off := [family for family in self._families() if not present.forwards(family)]:
            await self._worker.ask({"do": "forward", "families": off, "on": True})
            log.warning("forwarding switched on again families=%s", ",".join(off))
        lost = self._lost(self._links.values())
        taken_over = self._contents is None
        changed = not taken_over and await self._watch.changed()
        if changed:
            self._contents = None
        if not (taken_over or changed or lost):
            return
        await self._apply(self._links, [self._ensure(link) for link in lost])
        if changed or lost:
            names = ",".join(link.key for link in lost) or "none"
            log.warning("network restored rules=%s links=%s", "yes" if changed else "no", names)

    async def close(self) -> None:
        """Let go: the links stay as they are."""
        await self._worker.close()

    async def teardown(self) -> None:
        """Nothing of ours is left in the kernel. The containers must be gone."""
        async with self._lock:
            if self._file.exists():
                steps: list[dict[str, Any]] = [self._removal(link) for link in self._links.values()]
                steps.append({"do": "rules", "script": ruleset.removal(self._layout)})
                steps.append({"do": "forward", "families": list(self._forwarding_begun or ()), "on": False})
                await self._worker.ask(*steps)
            self._links = {}
            shutil.rmtree(self._run, ignore_errors=True)
        await self.close()

    # How it is done

    async def _claim(self, names: Sequence[str]) -> None:
        async with self._lock:
            if not self._slots.has(names):
                await asyncio.to_thread(self._slots.claim, names, list(self._links))

    async def _first_answers(self, link: Link) -> None:
        """Names that are asked for the first time get a moment, so that they are known when the service starts."""
        names = {entry.host for entry in link.network.egress if entry.is_name}
        if unknown := self._names.unknown(names):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIRST_ANSWER_S):
                    await self._names.refresh(unknown, time.monotonic())

    async def _take_in(self, link: Link) -> None:
        known = self._links.get(link.key)
        ports.check(link, self._links.values(), known.network.ports if known else ())
        if clash := present.clash(self._layout, present.read_routes()):
            raise Conflict(f"cannot make a network: {clash}", hint="choose another [network] in the firmware profile")
        self._directory(link).mkdir(mode=0o755, exist_ok=True)
        try:
            await self._apply({**self._links, link.key: link}, [self._ensure(link)])
        except BaseException:
            if known is None:
                await asyncio.shield(self._undo(link))
            raise

    async def _undo(self, link: Link) -> None:
        with contextlib.suppress(FieldgateError):
            await self._worker.ask(self._removal(link))
        shutil.rmtree(self._directory(link), ignore_errors=True)

    async def _apply(self, links: Mapping[str, Link], steps: Sequence[dict[str, Any]] = ()) -> None:
        """Make the rules those of `links`, then do `steps`; then it is remembered and told to the containers."""
        if self._forwarding_begun is None:
            (begun,) = await self._worker.ask({"do": "forward", "families": self._families(), "on": True})
            self._forwarding_begun = tuple(begun)
        servers = {link.key: self._servers_of(link) for link in links.values()}
        wanted = ruleset.contents(self._layout, links, self._names.allowed, servers)
        before, self._contents = self._contents, None
        for known in (before, None) if before is not None else (None,):
            script = (
                ruleset.table(self._layout, wanted, self._forwarding_begun)
                if known is None
                else ruleset.change(self._layout, known, wanted)
            )
            rules = [{"do": "rules", "script": script}] if script else []
            try:
                if rules or steps:
                    await self._worker.ask(*rules, *steps)
                break
            except FieldgateError as failure:
                if known is None:
                    raise
                log.info("rules are not what they were, all are written anew cause=%s", failure.message)
        self._contents = wanted
        self._links = dict(links)
        self._watch.changed_ourselves(1 if script else 0)
        self._remember()

    def _families(self) -> list[str]:
        return ["ipv4", "ipv6"] if self._layout.range6 else ["ipv4"]

    def _remember(self) -> None:
        names = self._names.current
        save(self._file, Remembered(tuple(self._links.values()), names, self._forwarding_begun or ()))
        for link in self._links.values():
            rewrite(self._hosts(link), files.hosts(self._layout, link, self._slots.known, self._links, names))
            rewrite(self._resolv_conf(link), files.resolv_conf(self._servers_of(link)))

    def _lost(self, links: Iterable[Link]) -> list[Link]:
        links = list(links)
        unpinned = [link for link in links if not netns.is_pinned(self._pin(link))]
        missing = present.missing(self._layout, links, present.read_routes())
        return [*unpinned, *(link for link in missing if link not in unpinned)]

    def _ensure(self, link: Link) -> dict[str, Any]:
        layout = self._layout
        wire = {
            "name": layout.interface(link.slot), "pin": str(self._pin(link)),
            "ipv4": layout.ipv4(link.slot), "gateway4": layout.ipv4(GATEWAY_SLOT),
            "ipv6": layout.ipv6(link.slot), "gateway6": layout.ipv6(GATEWAY_SLOT),
            "localnet": bool(link.network.ports),
        }  # fmt: skip
        return {"do": "ensure", "wire": wire}

    def _removal(self, link: Link) -> dict[str, Any]:
        return {"do": "remove", "name": self._layout.interface(link.slot), "pin": str(self._pin(link))}

    def _servers_of(self, link: Link) -> tuple[str, ...]:
        """Its own, or the gateway's when it may go anywhere."""
        anywhere = any(entry.host == model.ANY for entry in link.network.egress)
        return link.network.dns or (self._servers if anywhere else ())

    def _directory(self, link: Link) -> Path:
        return self._run / link.key

    def _pin(self, link: Link) -> Path:
        return self._directory(link) / "netns"

    def _hosts(self, link: Link) -> Path:
        return self._directory(link) / "hosts"

    def _resolv_conf(self, link: Link) -> Path:
        return self._directory(link) / "resolv.conf"


def _has_ipv6() -> bool:
    with contextlib.suppress(OSError):
        return _IPV6_OFF.read_text().strip() == "0"
    return False


def _name_servers() -> tuple[str, ...]:
    texts = []
    for file in RESOLV_CONF:
        with contextlib.suppress(OSError):
            texts.append(file.read_text(errors="replace"))
    return files.name_servers(*texts)
