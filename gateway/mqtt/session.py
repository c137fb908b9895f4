"""The MQTT 5 session with the broker: TLS with a client certificate, QoS 1, connected again for as long as it takes.

The only file that knows paho. Every connection has a client object of its own, so that nothing which was meant for one
connection is sent by surprise on the next: what must arrive is sent again by its owner. What the broker delivers is
acknowledged only when its owner says so; until then the broker holds back what exceeds RECEIVE_MAXIMUM. A link that is
half dead is noticed by the keepalive: after one and a half times its length the session begins anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.errors import InvalidInput
from gateway.lifecycle.backoff import Backoff

log = logging.getLogger(__name__)

KEEPALIVE_S: Final = 30
RECEIVE_MAXIMUM: Final = 64
MAX_PACKET_BYTES: Final = 1 << 20
MAX_WAITING: Final = 1024
"""Messages that came and are not handled. Mosquitto 2.0.11 exceeds RECEIVE_MAXIMUM once acknowledgements flow, so this
bound is needed: what exceeds it is dropped, and its owner is told."""
MAX_OUTGOING: Final = 20_000
RECONNECT: Final = Backoff(first_s=0.5, cap_s=30.0, jitter=0.4)
STEADY_S: Final = 10.0
"""A connection that held this long begins with the shortest pause again."""
CONNECT_TIMEOUT_S: Final = 5.0
"""Also the longest that the end of the process waits for."""
NO_MATCHING_SUBSCRIBERS: Final = 0x10
"""Reason code of a PUBACK (MQTT 5.0, 3.4.2.1)."""


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """`HOST:PORT`, as in `broker.example:8883` or `[::1]:8883`. InvalidInput."""
        host, _, port = text.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise InvalidInput(f"cannot use {text[:200]!a} as the broker's address: it must be HOST:PORT")
        return cls(host.strip("[]"), int(port))


@dataclass(frozen=True, slots=True)
class Login:
    """PEM files."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when this session ends, however it ends."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Incoming:
    topic: str
    payload: bytes
    mid: int
    qos: int
    connection: int


@dataclass(slots=True)
class SessionStatus:
    connected: bool = False
    since_ns: int = 0
    """Unix time since which it is connected, or not."""
    connections: int = 0
    """Attempts so far."""
    error: str = ""
    overflows: int = 0


class Session:
    """`run()` it; read `incoming`, `acknowledge()` what was handled; `publish()` at any time from the same loop."""

    def __init__(
        self,
        name: str,
        address: Address,
        login: Login,
        filters: Sequence[str],
        connected: Callable[[], None],
        will: Will | None = None,
        unheard: Callable[[], None] = lambda: None,
        dropped: Callable[[str], None] = lambda topic: None,
        reconnect: Backoff = RECONNECT,
    ) -> None:
        """`connected` is called on the loop once the subscriptions stand, after every connect.

        `unheard`: the broker took a message for which nobody was there. `dropped` (topic): one came and found no room;
        it is acknowledged, or it would hold a place in the broker's window for ever.
        """
        self._name, self._address, self._login, self._filters = name, address, login, tuple(filters)
        self._connected = connected
        self._will = will
        self._unheard = unheard
        self._dropped = dropped
        self._reconnect = reconnect
        self.incoming: asyncio.Queue[Incoming] = asyncio.Queue(MAX_WAITING)
        self.status = SessionStatus(since_ns=time.time_ns())
        self._client: Client | None = None
        self._lost = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        failures = 0
        while True:
            started = time.monotonic()
            await self._once()
            failures = 1 if time.monotonic() - started > STEADY_S else failures + 1
            await asyncio.sleep(self._reconnect.delay_s(failures, random.random))

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """QoS 1. False: not connected, or too much is on its way; the caller sends it again when there is reason to."""
        if self._client is None or not self.status.connected:
            return False
        return self._client.publish(topic, payload, qos=1, retain=retain).rc == MQTTErrorCode.MQTT_ERR_SUCCESS

    def acknowledge(self, message: Incoming) -> None:
        if self._client is not None and message.qos and message.connection == self.status.connections:
            self._client.ack(message.mid, message.qos)

    def reset(self, cause: str) -> None:
        """Leave and come back: the broker then sends again what is retained and what was not acknowledged."""
        self.status.error = cause
        self._lost.set()

    async def _once(self) -> None:
        """One connection, from its making to its loss; logs a change of cause once."""
        self._lost.clear()
        try:
            client = self._client = self._made(asyncio.get_running_loop())
            await asyncio.to_thread(self._connect, client)
            client.loop_start()
            try:
                await self._lost.wait()
            finally:
                client.disconnect(ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message"))
                await asyncio.to_thread(client.loop_stop)
        except (OSError, ValueError) as failure:
            self._failed(f"cannot reach {self._address.host}:{self._address.port}: {failure}")
        finally:
            self._client = None
            self._now(connected=False)

    def _connect(self, client: Client) -> None:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        properties.MaximumPacketSize = MAX_PACKET_BYTES
        client.connect(self._address.host, self._address.port, KEEPALIVE_S, clean_start=True, properties=properties)

    def _made(self, loop: asyncio.AbstractEventLoop) -> Client:
        """A client whose callbacks, in paho's thread, do nothing but hand over to the loop."""
        client = Client(
            CallbackAPIVersion.VERSION2,
            self._name,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_queued_messages_set(MAX_OUTGOING)
        client.tls_set_context(self._tls())
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, qos=1, retain=True)
        self.status.connections += 1
        connection = self.status.connections

        def tell(callback: Callable[..., None], *arguments: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
                loop.call_soon_threadsafe(callback, connection, *arguments)

        def on_message(_client: Client, _data: Any, message: MQTTMessage) -> None:
            incoming = Incoming(message.topic, bytes(message.payload), message.mid, message.qos, connection)
            tell(self._on_message, incoming)

        client.on_connect = lambda _c, _d, _f, reason, _p: tell(self._on_connect, reason)
        client.on_subscribe = lambda _c, _d, _m, reasons, _p: tell(self._on_subscribe, reasons)
        client.on_disconnect = lambda _c, _d, _f, reason, _p: tell(self._on_disconnect, reason)
        client.on_publish = lambda _c, _d, _m, reason, _p: (
            tell(self._on_unheard) if reason.value == NO_MATCHING_SUBSCRIBERS else None
        )
        client.on_message = on_message
        return client

    def _tls(self) -> ssl.SSLContext:
        for path in (self._login.ca, self._login.certificate, self._login.key):
            path.stat()  # ssl does not say which file is missing
        context = ssl.create_default_context(cafile=str(self._login.ca))
        context.load_cert_chain(self._login.certificate, self._login.key)
        return context

    def _on_connect(self, connection: int, reason: ReasonCode) -> None:
        if self._client is None or connection != self.status.connections:
            return
        if reason.is_failure:
            self._failed(f"the broker refuses us: {reason}")
            self._lost.set()
            return
        self._client.subscribe([(name, SubscribeOptions(qos=1)) for name in self._filters])

    def _on_subscribe(self, connection: int, reasons: Sequence[ReasonCode]) -> None:
        if self._client is None or connection != self.status.connections:
            return
        if refused := [str(reason) for reason in reasons if reason.is_failure]:
            self._failed(f"the broker refuses a subscription: {refused[0]}")
            self._lost.set()
            return
        self._now(connected=True)
        self.status.error = ""
        log.info("connected broker=%s:%d connection=%d", self._address.host, self._address.port, connection)
        self._connected()

    def _on_unheard(self, connection: int) -> None:
        if connection == self.status.connections:
            self._unheard()

    def _on_disconnect(self, connection: int, reason: ReasonCode) -> None:
        if self._client is not None and connection == self.status.connections:
            self._failed(f"disconnected: {reason}")
            self._lost.set()

    def _on_message(self, connection: int, message: Incoming) -> None:
        if connection != self.status.connections:
            return
        try:
            self.incoming.put_nowait(message)
        except asyncio.QueueFull:
            self.status.overflows += 1
            self.acknowledge(message)
            self._dropped(message.topic)

    def _failed(self, cause: str) -> None:
        self._now(connected=False)
        if cause != self.status.error:
            log.warning("not connected cause=%s", cause)
            self.status.error = cause

    def _now(self, connected: bool) -> None:
        if connected is not self.status.connected:
            self.status.connected, self.status.since_ns = connected, time.time_ns()
