"""The broker's ACL, shown by what arrives: a second gateway can neither read nor write the first one's topics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.documents.certificates import issue_client, make_authority
from tests.site.broker import CLOUD, Broker, Login
from tests.site.mqtt_client import MqttClient
from tests.site.processes import wait_until

DOWN = ("desired/cloud", "ack", "keys", "request/why")
UP = ("status", "reported/meter-reader", "progress", "data/telemetry", "response/why")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path, make_authority("Site CA")) as running:
        yield running


def _topics(gateway: str, *channels: str) -> list[str]:
    return [f"fieldgate/v1/{gateway}/{channel}" for channel in channels]


def test_a_gateway_reads_and_writes_what_is_its_own(broker: Broker) -> None:
    with (
        MqttClient(broker, broker.login(CLOUD), "fieldgate/v1/#") as cloud,
        MqttClient(broker, broker.login("gw-1"), *_topics("gw-1", *DOWN)) as first,
    ):
        for topic in _topics("gw-1", *UP):
            first.publish(topic, topic.encode())
        for topic in _topics("gw-1", *DOWN):
            cloud.publish(topic, topic.encode())
        wait_until(lambda: len(first.received()) == len(DOWN), "all messages at the gateway")
        wait_until(lambda: len(cloud.received()) == len(UP + DOWN), "all messages at the cloud")
        assert sorted(first.received()) == sorted(topic.encode() for topic in _topics("gw-1", *DOWN))


def test_a_second_gateway_neither_reads_nor_writes_the_first_ones_topics(broker: Broker) -> None:
    with (
        MqttClient(broker, broker.login(CLOUD), "fieldgate/v1/#") as cloud,
        MqttClient(broker, broker.login("gw-1"), "fieldgate/v1/#", *_topics("gw-1", *DOWN)) as first,
        MqttClient(broker, broker.login("gw-2"), "#", "fieldgate/v1/gw-1/#", *_topics("gw-2", *DOWN)) as second,
    ):
        for topic in _topics("gw-1", *DOWN):
            cloud.publish(topic, b"for gw-1", retain=True)
        for topic in _topics("gw-1", *UP, *DOWN):
            second.publish(topic, b"forged by gw-2", retain=True)
        # Fences: what was sent last has arrived, so everything before it has arrived or never will.
        second.publish("fieldgate/v1/gw-2/status", b"fence")
        cloud.publish("fieldgate/v1/gw-2/ack", b"fence")
        cloud.publish("fieldgate/v1/gw-1/ack", b"fence")
        wait_until(lambda: b"fence" in cloud.received("fieldgate/v1/gw-2/status"), "the cloud's fence")
        wait_until(lambda: b"fence" in second.received() and b"fence" in first.received(), "the gateways' fences")
        assert b"forged by gw-2" not in cloud.received() + first.received()
        assert set(second.received()) == {b"fence"}
        assert first.received().count(b"for gw-1") >= 3
    with MqttClient(broker, broker.login("gw-2"), *_topics("gw-1", *DOWN)) as late:
        late.publish("fieldgate/v1/gw-2/status", b"still here")
        assert late.received() == []  # retained messages of the first one do not leak, either


def test_a_gateway_cannot_write_its_own_downlink(broker: Broker) -> None:
    with (
        MqttClient(broker, broker.login(CLOUD), "fieldgate/v1/#") as cloud,
        MqttClient(broker, broker.login("gw-1"), *_topics("gw-1", *DOWN)) as first,
    ):
        for topic in _topics("gw-1", *DOWN):
            first.publish(topic, b"to myself", retain=True)
        first.publish("fieldgate/v1/gw-1/status", b"fence")
        wait_until(lambda: cloud.received() == [b"fence"], "nothing but the fence")
        assert first.received() == []


def test_a_client_id_that_is_not_its_own_takes_over_no_session(broker: Broker) -> None:
    """A broker ends the older of two sessions of one client id: with its own certificate anybody could end gw-1's."""
    with (
        MqttClient(broker, broker.login("gw-1"), *_topics("gw-1", *DOWN)) as first,
        MqttClient(broker, broker.login("gw-2"), *_topics("gw-1", *DOWN), client_id="gw-1") as liar,
        MqttClient(broker, broker.login(CLOUD)) as cloud,
    ):
        cloud.publish("fieldgate/v1/gw-1/ack", b"for gw-1")
        wait_until(lambda: first.received() == [b"for gw-1"], "the message at the real gw-1")
        liar.publish("fieldgate/v1/gw-2/status", b"fence")
        assert (first.connected, first.disconnections, liar.received()) == (True, 0, [])


def test_a_certificate_of_another_authority_does_not_connect(broker: Broker, tmp_path: Path) -> None:
    stranger = issue_client(make_authority("Site CA"), "gw-1")
    (tmp_path / "stranger.crt").write_bytes(stranger.certificate)
    (tmp_path / "stranger.key").write_bytes(stranger.key)
    login = Login("gw-1", broker.login("gw-1").ca, tmp_path / "stranger.crt", tmp_path / "stranger.key")
    client = MqttClient(broker, login)
    with pytest.raises(Exception, match=r"(?i)connection|alert|tls|see an MQTT"):
        client.start(timeout_s=2.0)


def test_it_comes_back_on_its_port_and_has_forgotten(broker: Broker) -> None:
    with MqttClient(broker, broker.login(CLOUD)) as cloud:
        cloud.publish("fieldgate/v1/gw-1/keys", b"kept?", retain=True)
        broker.kill()
        broker.start()
        wait_until(lambda: cloud.connected, "the client back")
    with MqttClient(broker, broker.login("gw-1"), "fieldgate/v1/gw-1/keys") as first:
        first.publish("fieldgate/v1/gw-1/status", b"fence")
        assert first.received() == []
