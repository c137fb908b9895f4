"""The part that holds the session and joins its two directions. See the room's `__init__.py` for what does what."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from gateway.cloud_link.downlink import Downlink
from gateway.cloud_link.ports import LinkPorts
from gateway.cloud_link.report import Reports
from gateway.cloud_link.requests import Requests
from gateway.cloud_link.uplink import Uplink
from gateway.model.config import Config
from gateway.model.enrolment import Enrolment
from gateway.model.topics import downlink_filters
from gateway.mqtt import Address, Login, Session, Will


@dataclass(frozen=True, slots=True)
class LinkStatus:
    connected: bool
    since_ns: int
    """Unix time since which it is connected, or not."""
    attempts: int
    """Connections tried since the agent started."""
    error: str
    """Why it is not connected."""
    in_flight: int
    """Batches sent and not confirmed."""


class CloudLink:
    """A part. `identity` holds ca.crt, gateway.crt and gateway.key."""

    name = "cloud-link"

    def __init__(self, enrolment: Enrolment, identity: Path, config: Config, ports: LinkPorts) -> None:
        gateway = enrolment.gateway
        self._reports = Reports(gateway, enrolment.incarnation, ports, self._publish)
        self._uplink = Uplink(gateway, ports.outbox, self._publish, config.uplink_window, config.uplink_resend_s)
        self._requests = Requests(gateway, ports.remote, self._publish)
        self._downlink = Downlink(
            enrolment, ports, self._uplink.confirm, self._reports.refused, self._reports.status, self._requests.take
        )
        self._session = Session(
            gateway,
            Address(enrolment.broker_host, enrolment.broker_port),
            Login(identity / "ca.crt", identity / "gateway.crt", identity / "gateway.key"),
            downlink_filters(gateway),
            self._connected,
            Will(*self._reports.offline()),
            self._uplink.unheard,
            # What is retained comes again with the next connection; the rest the cloud says again.
            dropped=lambda _topic: self._session.reset("too many messages wait"),
        )

    def status(self) -> LinkStatus:
        session = self._session.status
        return LinkStatus(
            session.connected, session.since_ns, session.connections, session.error, self._uplink.in_flight
        )

    async def run(self) -> None:
        """Until cancelled; the broker then publishes the last will."""
        async with asyncio.TaskGroup() as tasks:
            for part in (self._session, self._downlink, self._uplink, self._reports, self._requests):
                tasks.create_task(part.run())
            tasks.create_task(self._take())

    async def _take(self) -> None:
        while True:
            message = await self._session.incoming.get()
            self._downlink.take(message.topic, message.payload)
            # At once: what matters is a level, and the cloud says it again until it sees the effect.
            self._session.acknowledge(message)

    def _connected(self) -> None:
        self._reports.connected()
        self._uplink.connected()
        self._requests.connected()

    def _publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        return self._session.publish(topic, payload, retain=retain)
