"""The keys of a manifest that concern a service's network."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.documents import manifest
from gateway.documents.desired import encode_desired
from gateway.errors import InvalidInput
from gateway.model.network import Destination, Network, Ports, PublishedPort, Reach
from tests.unit.documents import samples


def network(**service: Any) -> Network | None:
    return manifest.parse(samples.manifest(**service)).services[0].network


def refused(document: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        manifest.parse(document)
    return {problem.path: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("ports", "built"),
    [
        (["8080:80"], [PublishedPort(8080, 80)]),
        (["127.0.0.1:8080:80/udp"], [PublishedPort(8080, 80, "udp", "127.0.0.1")]),
        (["[::1]:8080:80"], [PublishedPort(8080, 80, "tcp", "::1")]),
        (["8000-8001:80-81"], [PublishedPort(8000, 80), PublishedPort(8001, 81)]),
        ([{"target": 80, "published": "8080", "mode": "host"}], [PublishedPort(8080, 80)]),
        ([{"target": 80, "published": 8080, "protocol": "udp", "host_ip": "192.0.2.1"}],
         [PublishedPort(8080, 80, "udp", "192.0.2.1")]),
        (["8080:80", "8080:80"], [PublishedPort(8080, 80)]),
    ],
)  # fmt: skip
def test_ports_in_every_form(ports: list[Any], built: list[PublishedPort]) -> None:
    assert network(ports=ports) == Network(ports=tuple(built))


@pytest.mark.parametrize(
    ("ports", "path", "message"),
    [
        (["80"], "ports[0]", "names no port of the gateway"),
        ([80], "ports[0]", "names no port of the gateway"),
        (["8000-8002:80-81"], "ports[0]", "the same length"),
        (["1-2000:1-2000"], "ports[0]", "at most 64"),
        (["8080:80/sctp"], "ports[0]", "PUBLISHED:TARGET"),
        ([{"target": 80}], "ports[0].published", "is missing"),
        ([{"target": 80, "published": 8080, "name": "web"}], "ports[0].name", "not supported"),
        (["8080:80", "127.0.0.1:8080:81"], "ports[1]", "published by reader already"),
        (["0:80"], "ports[0]", "not a port"),
    ],
)
def test_bad_ports(ports: list[Any], path: str, message: str) -> None:
    assert message in refused(samples.manifest(ports=ports))[f"services.reader.{path}"]


def test_everything_else() -> None:
    own = {"egress": ["mqtt.example.com:8883", "any:443"], "reach": ["broker/mosquitto:1883"]}
    built = network(
        expose=[3000, "5000-5001/udp"], dns="192.0.2.53", extra_hosts=["plc:192.0.2.7", "gw=host-gateway"],
        x_esdk={"network": own},
    )  # fmt: skip
    assert built == Network(
        expose=(Ports(3000, 3000), Ports(5000, 5001, "udp")),
        egress=(Destination("mqtt.example.com", Ports(8883, 8883, "tcp")), Destination("any", Ports(443, 443, "tcp"))),
        reach=(Reach("broker", "mosquitto", 1883),),
        dns=("192.0.2.53",),
        extra_hosts={"plc": "192.0.2.7", "gw": "host-gateway"},
    )
    assert network(extra_hosts={"six": "2001:db8::1"}) == Network(extra_hosts={"six": "2001:db8::1"})


def test_every_fault_has_its_path() -> None:
    own = {"egress": ["ok", "*.bad"], "reach": ["nobody"]}
    document = samples.manifest(expose=["x"], dns=["a"], extra_hosts={"plc": "here"}, x_esdk={"network": own})
    assert {"services.reader.dns[0]", "services.reader.extra_hosts.plc"} <= set(refused(document))
    document = samples.manifest(expose=["x"])
    assert list(refused(document)) == ["services.reader.expose[0]"]
    document = samples.manifest(x_esdk={"network": own})
    assert list(refused(document)) == ["services.reader.x-esdk.network.egress[1]"]


@pytest.mark.parametrize("mode", ["none", "host"])
def test_a_service_without_a_network_of_its_own(mode: str) -> None:
    assert network(network_mode=mode) is None
    document = samples.manifest(network_mode=mode, ports=["80:80"], x_esdk={"network": {"egress": ["any"]}})
    found = refused(document)
    assert set(found) == {"services.reader.ports", "services.reader.x-esdk.network.egress"}
    assert f"leave network_mode: {mode} out" in found["services.reader.ports"]


def test_two_apps_cannot_publish_one_port() -> None:
    one, other = samples.manifest(ports=["8080:80"]), samples.manifest(ports=["127.0.0.1:8080:81"])
    with pytest.raises(InvalidInput) as caught:
        encode_desired("gw", "inc", "cloud", 1, {"a": one | {"name": "a"}, "b": other | {"name": "b"}})
    (problem,) = caught.value.problems
    assert problem.path == "apps.b.services.reader.ports"
    assert problem.message == "127.0.0.1:8080/tcp is published by a already"


def test_a_link_to_nowhere_is_none() -> None:
    assert network() is None
    assert network(expose=[80]) == Network(expose=(Ports(80, 80),))
    document = samples.manifest()
    document["services"]["other"] = dict(document["services"]["reader"], **{"x-esdk": {}})
    assert [service.network for service in manifest.parse(document).services] == [Network(), Network()]
    document["services"]["other"]["network_mode"] = "none"
    assert [service.network for service in manifest.parse(document).services] == [None, None]
