"""What an authority may grant to its APPs on this board: the firmware profile caps every signer. Pure.

Asked for each accepted desired state, and again at boot, since the profile may have changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.errors import NotPermitted, NotSupported, Problem
from gateway.model.app import Service
from gateway.model.desired import Desired
from gateway.model.network import Destination, Ports, parse_destination, parse_ports
from gateway.model.operations import Operation
from gateway.model.profile import JOINING_ENGINES, AuthorityCaps
from gateway.model.trust import Expected

ALL = "*"


def check_caps(desired: Desired, expected: Expected) -> None:
    """NotPermitted names, for every service, what its authority may not grant and the profile key that would allow it.

    NotSupported when all of it is allowed but this board lacks a port, line or engine.
    """
    refused: list[Problem] = []
    lacking: list[Problem] = []
    for app in desired.apps:
        for service in app.services:
            path = f"apps.{app.name}.services.{service.name}"
            missing = dict(_lacking(service, expected))
            lacking.extend(Problem(f"{path}.{below}", message) for below, message in missing.items())
            refused.extend(
                Problem(f"{path}.{below}", _not_granted(expected.authority, what, key))
                for below, what, key in _beyond(service, expected)
                if below not in missing
            )
    count = len(refused) + len(lacking)
    what = f"cannot accept the desired state of {expected.authority}: {count} problem{'s' if count > 1 else ''}"
    if refused:
        raise NotPermitted(
            what, problems=refused + lacking, hint="the firmware profile caps what an authority may grant"
        )
    if lacking:
        raise NotSupported(what, problems=lacking)


def check_operation(operation: Operation, expected: Expected) -> None:
    """NotPermitted names the profile key that would allow it."""
    if operation.op not in expected.caps.operations:
        authority = expected.authority
        raise NotPermitted(
            f"cannot accept the operation: authority {authority} may not {operation.op}",
            hint=f"the firmware profile would allow it by {operation.op.value!r} in authorities.{authority}.operations",
        )


def _not_granted(authority: str, what: str, key: str) -> str:
    return f"authority {authority} may not grant {what}; the profile's authorities.{authority}.{key} would allow it"


def _beyond(service: Service, expected: Expected) -> Iterator[tuple[str, str, str]]:
    """(path below the service, what, profile key) of everything that the authority may not grant."""
    caps = expected.caps
    for port in service.esdk.serial:
        if not _covers(caps.serial, port):
            yield f"x-esdk.serial.{port}", f"serial port {port}", "serial"
    for line in service.esdk.gpio:
        if not _covers(caps.gpio, line):
            yield f"x-esdk.gpio.{line}", f"line {line}", "gpio"
    for device in service.devices:
        if not _covers(caps.devices, device):
            yield f"devices.{device}", f"device {device}", "devices"
    for bind in service.binds:
        if not any(entry == ALL or _is_below(bind.source, entry) for entry in caps.binds):
            yield f"volumes.{bind.source}", f"host directory {bind.source}", "binds"
    for capability in service.cap_add:
        if not _covers(caps.capabilities, capability):
            yield f"cap_add.{capability}", f"capability {capability}", "capabilities"
    if service.host_network and not caps.host_network:
        yield "network_mode", "the gateway's network", "host_network"
    yield from _beyond_network(service, caps)
    if caps.memory_bytes is not None:
        wanted = service.limits.memory_bytes
        if wanted is None or wanted > caps.memory_bytes:
            amount = "memory without a limit" if wanted is None else f"{wanted} bytes of memory"
            yield "deploy.resources.limits.memory", f"{amount} (at most {caps.memory_bytes})", "memory_bytes"


def _beyond_network(service: Service, caps: AuthorityCaps) -> Iterator[tuple[str, str, str]]:
    if service.network is None:
        return
    for port in service.network.ports:
        allowed = (entry == ALL or parse_ports(entry).covers(port.published, port.protocol) for entry in caps.ports)
        if not any(allowed):
            yield f"ports.{port}", f"port {port} of the gateway", "ports"
    asked = [Destination(server, Ports(53, 53, "udp")) for server in service.network.dns]
    for wanted in (*service.network.egress, *asked):
        if not any(entry == ALL or parse_destination(entry).covers(wanted) for entry in caps.egress):
            yield f"x-esdk.network.egress.{wanted}", f"destination {wanted}", "egress"


def _lacking(service: Service, expected: Expected) -> Iterator[tuple[str, str]]:
    """(path below the service, message) of every port, line or engine that the board does not have."""
    if service.host and not set(JOINING_ENGINES) & set(expected.engines):
        yield "x-esdk.host", "no engine of this board can do that; oci in its profile's engines could"
    if service.engine and service.engine not in expected.engines:
        has = ", ".join(expected.engines)
        yield "x-esdk.engine", f"this board has no engine {service.engine}; its profile's engines are {has}"
    for port in service.esdk.serial:
        if port not in expected.serial:
            yield f"x-esdk.serial.{port}", f"this board has no serial port {port}; it has {_list(expected.serial)}"
    for line, mode in service.esdk.gpio.items():
        if line not in expected.gpio:
            yield f"x-esdk.gpio.{line}", f"this board has no line {line}; it has {_list(expected.gpio)}"
        elif mode == "write" and not expected.gpio[line]:
            yield f"x-esdk.gpio.{line}", f"{line} is an input: it can only be read"


def _covers(allowed: tuple[str, ...], wanted: str) -> bool:
    return ALL in allowed or wanted in allowed


def _is_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
