"""hosts and resolv.conf of a container."""

from __future__ import annotations

from gateway.model.network import Network, parse_destination, parse_reach
from gateway.model.profile import NetworkRange
from gateway.network.files import hosts, name_servers, resolv_conf
from gateway.network.layout import Layout, Link

LAYOUT = Layout(NetworkRange(ipv6=""))


def test_hosts_name_what_may_be_reached() -> None:
    network = Network(
        egress=tuple(parse_destination(text) for text in ("mqtt.test:8883", "mqtt.test:443", "192.0.2.1", "any")),
        reach=(parse_reach("broker/main:1883"), parse_reach("gone/main:1")),
        extra_hosts={"plc": "192.0.2.7", "box": "host-gateway"},
    )
    link = Link("app", "reader", 2, network, ("store",))
    broker, new = Link("broker", "main", 4, Network()), Link("app", "new", 5, Network())
    slots = {"app.reader": 2, "app.store": 3, "app.new": 5}
    links = {made.key: made for made in (link, broker, new)}
    assert hosts(LAYOUT, link, slots, links, {"mqtt.test": ["198.51.100.1"]}).splitlines() == [
        "127.0.0.1 localhost",
        "::1 localhost",
        "10.99.0.2 reader",
        "10.99.0.3 store",
        "10.99.0.5 new",
        "10.99.0.1 gateway",
        "10.99.0.4 main.broker",
        "198.51.100.1 mqtt.test",
        "192.0.2.7 plc",
        "10.99.0.1 box",
    ]


def test_name_servers_on_the_loopback_are_of_no_use_to_others() -> None:
    stub = "# by systemd\nnameserver 127.0.0.53\noptions edns0\n"
    real = "nameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver\nnameserver 1.1.1.1\nnameserver 9.9.9.9\n"
    assert name_servers(stub, real) == ("192.0.2.53", "fe80::1", "1.1.1.1")
    assert name_servers(stub) == name_servers() == ()
    assert resolv_conf(["192.0.2.53", "2001:db8::53"]) == "nameserver 192.0.2.53\nnameserver 2001:db8::53\n"
    assert "nameserver" not in resolv_conf([])
