"""What an authority may grant."""

from __future__ import annotations

import dataclasses

import pytest

from gateway.errors import NotPermitted, NotSupported
from gateway.model.app import App, BindMount, Grant, Limits, Service
from gateway.model.desired import Desired
from gateway.model.network import Destination, Network, Ports, PublishedPort
from gateway.model.operations import READING, Op, Operation
from gateway.model.profile import AuthorityCaps
from gateway.model.trust import Expected
from gateway.trust.caps import check_caps, check_operation

NOTHING = AuthorityCaps()
EVERYTHING = AuthorityCaps(("*",), ("*",), ("*",), ("*",), ("*",), True, ("*",), ("*",))
EXPECTED = Expected("gw", "inc", "contractor", {}, 1, NOTHING, serial=("RS485-1",), gpio={"DI1": False, "DO1": True})


def desired(**service: object) -> Desired:
    made = dataclasses.replace(Service("reader", "image"), **service)  # type: ignore[arg-type]
    return Desired("gw", "inc", "contractor", 1, (App("meter", (made,)),))


def check(wanted: Desired, **caps: object) -> None:
    check_caps(wanted, dataclasses.replace(EXPECTED, caps=dataclasses.replace(NOTHING, **caps)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("service", "path", "key", "caps"),
    [
        ({"esdk": Grant(serial=("RS485-1",))}, "x-esdk.serial.RS485-1", "serial", {"serial": ("RS485-1",)}),
        ({"esdk": Grant(gpio={"DI1": "read"})}, "x-esdk.gpio.DI1", "gpio", {"gpio": ("DI1", "DO1")}),
        ({"devices": ("/dev/x",)}, "devices./dev/x", "devices", {"devices": ("/dev/x",)}),
        ({"binds": (BindMount("/srv/a", "/a"),)}, "volumes./srv/a", "binds", {"binds": ("/srv",)}),
        ({"cap_add": ("NET_RAW",)}, "cap_add.NET_RAW", "capabilities", {"capabilities": ("NET_RAW",)}),
        ({"host_network": True}, "network_mode", "host_network", {"host_network": True}),
        ({"network": Network(ports=(PublishedPort(8080, 80),))}, "ports.8080/tcp", "ports", {"ports": ("8000-8099",)}),
        (
            {"network": Network(egress=(Destination("192.0.2.7", Ports(80, 80, "tcp")),))},
            "x-esdk.network.egress.192.0.2.7:80/tcp",
            "egress",
            {"egress": ("192.0.2.0/24",)},
        ),
        (
            {"network": Network(dns=("192.0.2.53",))},
            "x-esdk.network.egress.192.0.2.53:53/udp",
            "egress",
            {"egress": ("any",)},
        ),
    ],
)
def test_a_refusal_names_path_authority_and_profile_key(
    service: dict[str, object], path: str, key: str, caps: dict[str, object]
) -> None:
    with pytest.raises(NotPermitted) as caught:
        check(desired(**service))
    (problem,) = caught.value.problems
    assert problem.path == f"apps.meter.services.reader.{path}"
    assert "authority contractor may not grant" in problem.message
    assert f"authorities.contractor.{key} would allow it" in problem.message
    check(desired(**service), **caps)
    check_caps(desired(**service), dataclasses.replace(EXPECTED, caps=EVERYTHING))


def test_a_bind_is_allowed_below_a_directory_and_not_beside_it() -> None:
    for source in ("/srv", "/srv/a/b"):
        check(desired(binds=(BindMount(source, "/a"),)), binds=("/srv",))
    for source in ("/srv2", "/", "/sr"):
        with pytest.raises(NotPermitted):
            check(desired(binds=(BindMount(source, "/a"),)), binds=("/srv",))


@pytest.mark.parametrize(("limit", "good"), [(None, False), (2048, False), (1024, True), (1, True)])
def test_memory(limit: int | None, good: bool) -> None:
    wanted = desired(limits=Limits(memory_bytes=limit))
    if good:
        check(wanted, memory_bytes=1024)
        return
    with pytest.raises(NotPermitted, match="1 problem") as caught:
        check(wanted, memory_bytes=1024)
    assert "authorities.contractor.memory_bytes" in str(caught.value)


@pytest.mark.parametrize(
    ("grant", "path", "cause"),
    [
        (Grant(serial=("COM1",)), "x-esdk.serial.COM1", "no serial port COM1; it has RS485-1"),
        (Grant(gpio={"DO9": "write"}), "x-esdk.gpio.DO9", "no line DO9; it has DI1, DO1"),
        (Grant(gpio={"DI1": "write"}), "x-esdk.gpio.DI1", "DI1 is an input"),
    ],
)
def test_what_the_board_lacks(grant: Grant, path: str, cause: str) -> None:
    with pytest.raises(NotSupported) as caught:
        check_caps(desired(esdk=grant), dataclasses.replace(EXPECTED, caps=EVERYTHING))
    (problem,) = caught.value.problems
    assert (problem.path, cause in problem.message) == (f"apps.meter.services.reader.{path}", True)


def test_an_engine_that_the_profile_does_not_list() -> None:
    with pytest.raises(NotSupported) as caught:
        check(desired(engine="docker"))
    (problem,) = caught.value.problems
    assert problem.path == "apps.meter.services.reader.x-esdk.engine"
    assert problem.message == "this board has no engine docker; its profile's engines are oci"
    check_caps(desired(engine="docker"), dataclasses.replace(EXPECTED, engines=("oci", "docker")))
    check(desired(engine=""))


def test_living_in_another_container_needs_an_engine_that_can_do_it() -> None:
    hosted = desired(host="site/main", network=None)
    check(hosted)
    with pytest.raises(NotSupported) as caught:
        check_caps(hosted, dataclasses.replace(EXPECTED, engines=("docker", "lxc")))
    (problem,) = caught.value.problems
    assert problem.path == "apps.meter.services.reader.x-esdk.host"


def test_both_at_once() -> None:
    with pytest.raises(NotPermitted, match="3 problems"):
        check(desired(esdk=Grant(serial=("RS485-1", "COM1")), host_network=True))


def test_an_app_that_touches_nothing_needs_nothing() -> None:
    check(desired())


@pytest.mark.parametrize("op", Op)
def test_an_operation_must_be_listed_by_its_name(op: Op) -> None:
    operation = Operation("gw", "inc", "contractor", "a" * 32, "b" * 32, "boot", op, "meter")
    listed = dataclasses.replace(EXPECTED, caps=AuthorityCaps(operations=(op,)))
    check_operation(operation, listed)
    others = tuple(other for other in Op if other is not op)
    for operations in ((), others, ("*",)):
        with pytest.raises(NotPermitted, match=f"may not {op}") as caught:
            check_operation(operation, dataclasses.replace(EXPECTED, caps=AuthorityCaps(operations=operations)))
        assert f"'{op}' in authorities.contractor.operations" in caught.value.hint


def test_by_default_nothing_is_changed_and_nothing_shown_that_an_app_has_written() -> None:
    assert frozenset(NOTHING.operations) == READING
