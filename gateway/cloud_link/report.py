"""Tells the cloud how the gateway and its APPs are: everything after a connect, then what changes, not too often.

Status and APP reports are retained, so that whoever asks the broker later sees them at once; progress is passing.
Used by `link.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.cloud_link.pacing import Pacing
from gateway.cloud_link.ports import LinkPorts
from gateway.model.reports import AppRemoved, AppReport, GatewayStatus, Progress, ProgressKind
from gateway.model.topics import Channel, Topic
from gateway.model.wire import canonical, to_wire

REPORT_INTERVAL_S: Final = 1.0
"""Per APP."""
PULL_INTERVAL_S: Final = 0.25
"""Per service."""
MAX_KEYS: Final = 512
MAX_REMOVED: Final = 256


class Publish(Protocol):
    def __call__(self, topic: str, payload: bytes, *, retain: bool = False) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Message:
    topic: str
    payload: bytes
    retain: bool


class Reports:
    """One per link. `publish` is False when there is no connection: then the next one begins with everything."""

    def __init__(self, gateway: str, incarnation: str, ports: LinkPorts, publish: Publish) -> None:
        self._gateway, self._incarnation = gateway, incarnation
        self._ports = ports
        self._publish = publish
        self._pacing: Pacing[_Message] = Pacing(MAX_KEYS)
        self._published: dict[str, bytes] = {}
        """Topic -> what was sent last on this connection; only of what is retained."""
        self._removed: dict[str, None] = {}
        self._events = 0
        self._wake = asyncio.Event()

    def offline(self) -> tuple[str, bytes]:
        """Topic and payload of the last will."""
        return self._topic(Channel.STATUS), canonical(to_wire(GatewayStatus(False, self._incarnation)))

    def connected(self) -> None:
        """Say everything, and clear what is retained of APPs that are gone."""
        self._pacing.clear()
        self._published.clear()
        self.status()
        reports = self._ports.reports()
        for report in reports:
            self._tell_report(report)
        for app in self._removed.keys() - {report.app for report in reports}:
            self._put(_Message(self._topic(Channel.REPORTED, app), b"", True), 0.0)
        self._wake.set()

    def status(self) -> None:
        """Online, and which revisions are in force; sent when it differs from what was sent last."""
        status = GatewayStatus(
            True, self._incarnation, self._ports.agent_version, self._ports.acceptance.revisions(), self._ports.boot_id
        )
        self._put(_Message(self._topic(Channel.STATUS), canonical(to_wire(status)), True), 0.0)

    def refused(self, progress: Progress) -> None:
        """A desired state was refused."""
        self._tell_progress(progress)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_news())
            tasks.create_task(self._send())

    async def _follow_news(self) -> None:
        async for news in self._ports.news:
            if isinstance(news, AppReport):
                self._removed.pop(news.app, None)
                self._tell_report(news)
            elif isinstance(news, AppRemoved):
                self._forget(news.app)
            else:
                self._tell_progress(news)
            self.status()  # a local deployment changes revisions, too
        await asyncio.Event().wait()

    def _forget(self, app: str) -> None:
        self._removed[app] = None
        if len(self._removed) > MAX_REMOVED:
            del self._removed[next(iter(self._removed))]
        self._put(_Message(self._topic(Channel.REPORTED, app), b"", True), 0.0)

    def _tell_report(self, report: AppReport) -> None:
        message = _Message(self._topic(Channel.REPORTED, report.app), canonical(to_wire(report)), True)
        self._put(message, REPORT_INTERVAL_S)

    def _tell_progress(self, progress: Progress) -> None:
        message = _Message(self._topic(Channel.PROGRESS), canonical(to_wire(progress)), False)
        if progress.kind is ProgressKind.PULL:
            self._put(message, PULL_INTERVAL_S, f"pull {progress.app}/{progress.service}")
        else:
            self._events += 1
            self._put(message, 0.0, f"event {self._events}")

    def _put(self, message: _Message, interval_s: float, key: str = "") -> None:
        self._pacing.put(key or message.topic, message, interval_s)
        self._wake.set()

    async def _send(self) -> None:
        while True:
            self._wake.clear()
            for message in self._pacing.due(time.monotonic()):
                self._hand_over(message)
            due_s = self._pacing.next_due_s()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due_s is None else max(0.01, due_s - time.monotonic())):
                    await self._wake.wait()

    def _hand_over(self, message: _Message) -> None:
        if message.retain and self._published.get(message.topic) == message.payload:
            return
        if self._publish(message.topic, message.payload, retain=message.retain) and message.retain:
            self._published[message.topic] = message.payload

    def _topic(self, channel: Channel, detail: str = "") -> str:
        return str(Topic(self._gateway, channel, detail))
