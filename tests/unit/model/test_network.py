"""Destinations, ports and reach: text forms, and what covers what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.network import (
    Destination,
    Network,
    Ports,
    PublishedPort,
    Reach,
    parse_destination,
    parse_ports,
    parse_reach,
)

HOSTS = st.sampled_from(
    ["any", "gateway", "mqtt.example.com", "192.0.2.7", "192.0.2.0/24", "0.0.0.0/0", "2001:db8::1", "2001:db8::/32"]
)
RANGES = st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(sorted)
PORTS = st.one_of(st.none(), st.builds(lambda r, p: Ports(r[0], r[1], p), RANGES, st.sampled_from(["tcp", "udp"])))


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("any", Destination("any")),
        ("gateway:123/udp", Destination("gateway", Ports(123, 123, "udp"))),
        ("mqtt.example.com:8883", Destination("mqtt.example.com", Ports(8883, 8883, "tcp"))),
        ("192.0.2.0/24", Destination("192.0.2.0/24")),
        ("192.0.2.7/32:1-9", Destination("192.0.2.7", Ports(1, 9, "tcp"))),
        ("2001:db8::1", Destination("2001:db8::1")),
        ("[2001:db8::]/32:443", Destination("2001:db8::/32", Ports(443, 443, "tcp"))),
        ("time.example/udp", Destination("time.example", Ports(0, 65535, "udp"))),
    ],
)
def test_destinations_are_read(text: str, parsed: Destination) -> None:
    assert parse_destination(text) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Any",
        "*.example.com",
        "192.0.2.1/24",
        "192.0.2",
        "a:0",
        "a:65536",
        "a:9-1",
        "a/sctp",
        "a b",
        "[a]:1",
        "::1:x",
        "a:1;",
    ],
)
def test_bad_destinations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_destination(text)


@given(HOSTS, PORTS)
def test_what_is_written_is_read_again(host: str, ports: Ports | None) -> None:
    destination = Destination(host, ports)
    assert parse_destination(str(destination)) == destination
    assert destination.covers(destination)


@given(HOSTS, PORTS, HOSTS, PORTS, HOSTS, PORTS)
def test_cover_is_transitive(a: str, p: Ports | None, b: str, q: Ports | None, c: str, r: Ports | None) -> None:
    outer, middle, inner = Destination(a, p), Destination(b, q), Destination(c, r)
    if outer.covers(middle) and middle.covers(inner):
        assert outer.covers(inner)


@pytest.mark.parametrize(
    ("outer", "inner", "covers"),
    [
        ("any", "mqtt.example.com:8883", True),
        ("any", "gateway:123/udp", False),
        ("any:443", "192.0.2.1:443", True),
        ("any:443", "192.0.2.1", False),
        ("192.0.2.0/24", "192.0.2.7:80", True),
        ("192.0.2.0/24:80", "192.0.2.7:80/udp", False),
        ("192.0.2.7", "192.0.2.0/24", False),
        ("mqtt.example.com", "www.example.com", False),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("0.0.0.0/0", "mqtt.example.com", False),
    ],
)
def test_what_covers_what(outer: str, inner: str, covers: bool) -> None:
    assert parse_destination(outer).covers(parse_destination(inner)) is covers


def test_reach_and_exposed_ports() -> None:
    assert parse_reach("broker/mosquitto:1883") == Reach("broker", "mosquitto", 1883, "tcp")
    for text in ("broker:1883", "broker/mosquitto", "broker/mosquitto:1883/icmp", "a/b:0"):
        with pytest.raises(ValueError, match=r".+"):
            parse_reach(text)
    network = Network(ports=(PublishedPort(8080, 80),), expose=(parse_ports("1883"), parse_ports("5000-5010/udp")))
    assert [network.exposes(*asked) for asked in ((80, "tcp"), (1883, "udp"), (5010, "udp"))] == [True] * 3
    assert [network.exposes(*asked) for asked in ((8080, "tcp"), (80, "udp"), (5000, "tcp"))] == [False] * 3


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        (PublishedPort(80, 1), PublishedPort(80, 2), True),
        (PublishedPort(80, 1), PublishedPort(80, 1, "udp"), False),
        (PublishedPort(80, 1, host_ip="127.0.0.1"), PublishedPort(80, 1), True),
        (PublishedPort(80, 1, host_ip="127.0.0.1"), PublishedPort(80, 1, host_ip="192.0.2.1"), False),
        (PublishedPort(80, 1), PublishedPort(81, 1), False),
    ],
)
def test_clashes(one: PublishedPort, other: PublishedPort, clash: bool) -> None:
    assert one.clashes(other) is other.clashes(one) is clash
