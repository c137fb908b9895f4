"""A plain MQTT client of a test site: it speaks for a gateway that is not there, or for an intruder.

Knows topics and payloads as strings and bytes only. Notes everything that arrives, in order.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.errors import Unavailable
from tests.site.broker import HOST, Broker, Login
from tests.site.processes import wait_until


class MqttClient:
    """Connected while in its context; comes back by itself after the broker was away and subscribes again.

    `client_id` is what it calls itself: the name in its certificate, unless it lies.
    """

    def __init__(self, broker: Broker, login: Login, *filters: str, client_id: str = "") -> None:
        self._port = broker.port
        self._filters = filters
        self._lock = threading.Lock()
        self._received: list[tuple[str, bytes]] = []
        self._subscribed = threading.Event()
        self._refused = ""
        self.disconnections = 0
        """How often the connection ended that it had."""
        self.on_message: Callable[[str, bytes], None] = lambda topic, payload: None
        """Called in the client's thread for whatever arrives."""
        self._login = login
        self._client_id = client_id or login.name
        self._client: Client | None = None

    @property
    def connected(self) -> bool:
        """And subscribed."""
        return self._subscribed.is_set()

    def received(self, topic: str = "") -> list[bytes]:
        """Payloads that arrived so far, of one topic or of all."""
        with self._lock:
            return [payload for name, payload in self._received if topic in ("", name)]

    def start(self, timeout_s: float = 10.0) -> None:
        """Returns when connected and subscribed; Unavailable when the broker refuses."""
        self._refused = ""
        self._client = self._made()
        try:
            self._client.connect(HOST, self._port, keepalive=10)
            self._client.loop_start()
            wait_until(lambda: self.connected or bool(self._refused), "an MQTT connection", timeout_s)
            if self._refused:
                raise Unavailable(f"cannot connect to the broker: {self._refused}")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        # Let go of it: paho closes its inner pair of sockets when it is collected.
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, timeout_s: float = 10.0) -> bool:
        """QoS 1; returns when the broker has answered: True if it took the message, False if it refused it.

        A broker may also answer "taken" and let the message fall: what arrives tells, not this.
        """
        answers: list[ReasonCode] = []
        mine: list[int] = []

        def answered(_client: Client, _data: Any, mid: int, reason: ReasonCode, _properties: Properties) -> None:
            if not mine or mid == mine[0]:
                answers.append(reason)

        if self._client is None:
            raise Unavailable("cannot publish: not connected")
        self._client.on_publish = answered
        message = self._client.publish(topic, payload, qos=1, retain=retain)
        mine.append(message.mid)
        wait_until(lambda: bool(answers), f"an answer to a message on {topic}", timeout_s)
        return not answers[0].is_failure

    def _made(self) -> Client:
        client = Client(CallbackAPIVersion.VERSION2, self._client_id, protocol=MQTTProtocolVersion.MQTTv5)
        client.tls_set(
            str(self._login.ca), str(self._login.certificate), str(self._login.key), tls_version=ssl.PROTOCOL_TLS_CLIENT
        )
        client.reconnect_delay_set(0.1, 0.5)  # type: ignore[arg-type]  # seconds; fractions work
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    def _on_connect(self, client: Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            self._refused = str(reason)
        elif self._filters:
            client.subscribe([(name, _options()) for name in self._filters])
        else:
            self._subscribed.set()

    def _on_subscribe(self, _client: Client, _data: Any, _mid: int, _reasons: Any, _properties: Any) -> None:
        self._subscribed.set()

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, _reason: Any, _properties: Any) -> None:
        self._subscribed.clear()
        self.disconnections += 1

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        # The handler first: whoever sees a message in `received` may look at what the handler noted of it.
        self.on_message(message.topic, bytes(message.payload))
        with self._lock:
            self._received.append((message.topic, bytes(message.payload)))

    def __enter__(self) -> MqttClient:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _options() -> Any:
    from paho.mqtt.subscribeoptions import SubscribeOptions

    return SubscribeOptions(qos=1)
