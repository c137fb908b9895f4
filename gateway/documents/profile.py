"""The firmware profile: a TOML file per board (docs/firmware-profile.md), turned into `model.profile.Profile`."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from gateway.documents import manifest_forms as forms
from gateway.documents.checks import AuthorityName, Bytes, EngineName, Model, Path, PortName, check, faults, must_match
from gateway.documents.syntax import parse_toml
from gateway.model import profile
from gateway.model.network import network_of, parse_destination, parse_ports

MAX_PROFILE_BYTES: Final = 64 << 10
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_INTERFACE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_SIMULATED: Final = "simulated:"
_RANGE: Final = profile.NetworkRange()


def _location(text: str) -> str:
    """A path, absolute or relative, that stays where it says it is."""
    if not text or len(text) > 255 or not text.isprintable() or ".." in text.split("/"):
        raise ValueError(f"{text[:80]!a} must be a path without '..'")
    return text


def _chip(text: str) -> str:
    if not text.startswith(("/dev/", _SIMULATED)):
        raise ValueError(f"{text[:80]!a} must be a path below /dev, or simulated:SOCKET")
    return _SIMULATED + _location(text.removeprefix(_SIMULATED)) if text.startswith(_SIMULATED) else _location(text)


def _ports(text: str) -> str:
    if text != "*":
        parse_ports(text)
    return text


def _destination(text: str) -> str:
    if text != "*":
        parse_destination(text)
    return text


def _range(text: str, version: int) -> str:
    """A network of that version with room for APPs: IPv4 /8 to /24, IPv6 /48 to /64."""
    network = network_of(text)
    shortest, longest = (8, 24) if version == 4 else (48, 64)
    if network is None or network.version != version or not shortest <= network.prefixlen <= longest:
        raise ValueError(f"{text[:80]!a} must be an IPv{version} network from /{shortest} to /{longest}")
    return str(network)


def _all_or_capability(text: str) -> str:
    return text if text == "*" else forms.capability(text)


Location = Annotated[str, AfterValidator(_location)]
Names = Annotated[list[str], Field(max_length=64)]
Operation = Literal["why", "stats", "logs", "exec", "restart", "rollback", "pin"]
"""Each by its name: there is no `*` that would let `exec` in unnoticed."""
Capability = Annotated[str, AfterValidator(_all_or_capability)]


class SerialPort(Model):
    device: Location
    baud: Annotated[int, Field(ge=50, le=4_000_000)] = 9600
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Literal[1, 2] = 1
    rs485: bool = False

    def build(self, name: str) -> profile.SerialPort:
        return profile.SerialPort(name, self.device, self.baud, self.parity, self.stop_bits, self.rs485)


class GpioLine(Model):
    chip: Annotated[str, AfterValidator(_chip)]
    offset: Annotated[int, Field(ge=0, le=1023)]
    output: bool = False
    safe_value: Literal[0, 1] = 0
    on_agent_loss: Literal["hold", "safe"] = "hold"
    active_low: bool = False

    @model_validator(mode="after")
    def _safe_is_for_outputs(self) -> GpioLine:
        if not self.output and {"safe_value", "on_agent_loss"} & self.model_fields_set:
            raise ValueError("safe_value and on_agent_loss are for lines with output = true")
        return self

    def build(self, name: str) -> profile.GpioLine:
        loss = profile.OnAgentLoss(self.on_agent_loss)
        return profile.GpioLine(name, self.chip, self.offset, self.output, self.safe_value, loss, self.active_low)


class Authority(Model):
    serial: Names = []
    gpio: Names = []
    devices: Names = []
    binds: Names = []
    capabilities: Annotated[list[Capability], Field(max_length=64)] = []
    host_network: bool = False
    ports: Annotated[list[Annotated[str, AfterValidator(_ports)]], Field(max_length=64)] = []
    egress: Annotated[list[Annotated[str, AfterValidator(_destination)]], Field(max_length=64)] = []
    memory_bytes: Bytes | None = None
    operations: Annotated[list[Operation], Field(max_length=16)] = ["why", "stats"]
    key_files: Annotated[list[Location], Field(max_length=16)] = []

    def build(self) -> profile.AuthorityCaps:
        return profile.AuthorityCaps(
            serial=tuple(self.serial),
            gpio=tuple(self.gpio),
            devices=tuple(self.devices),
            binds=tuple(self.binds),
            capabilities=tuple(self.capabilities),
            host_network=self.host_network,
            ports=tuple(self.ports),
            egress=tuple(self.egress),
            memory_bytes=self.memory_bytes,
            operations=tuple(self.operations),
            key_files=tuple(self.key_files),
        )


class Network(Model):
    ipv4: Annotated[str, AfterValidator(lambda text: _range(text, 4))] = _RANGE.ipv4
    ipv6: Annotated[str, AfterValidator(lambda text: _range(text, 6) if text else "")] = _RANGE.ipv6

    def build(self) -> profile.NetworkRange:
        return profile.NetworkRange(self.ipv4, self.ipv6)


class Uplink(Model):
    interface: Annotated[str, AfterValidator(lambda text: must_match(_INTERFACE, text))]
    kind: Literal["ethernet", "wifi", "cellular"]
    metered: bool | None = None

    def build(self) -> profile.Uplink:
        metered = self.kind == "cellular" if self.metered is None else self.metered
        return profile.Uplink(self.interface, self.kind, metered)


class _Profile(Model):
    name: Annotated[str, AfterValidator(lambda text: must_match(_NAME, text))]
    architecture: Literal["amd64", "arm64", "arm", "riscv64"]
    serial: Annotated[dict[PortName, SerialPort], Field(max_length=16)] = {}
    gpio: Annotated[dict[PortName, GpioLine], Field(max_length=256)] = {}
    authorities: Annotated[dict[AuthorityName, Authority], Field(max_length=16)] = {}
    plain_http_registries: Names = []
    reserved_memory_bytes: Bytes = 64 << 20
    reserved_disk_bytes: Bytes = 64 << 20
    network: Network = Network()
    uplink: Annotated[list[Uplink], Field(max_length=8)] = []
    runtimes: Annotated[list[Literal["crun", "runc"]], Field(min_length=1, max_length=2)] = ["crun", "runc"]
    engines: Annotated[list[EngineName], Field(min_length=1, max_length=4)] = ["oci"]
    docker_socket: Annotated[str, AfterValidator(forms.absolute_path)] = "/var/run/docker.sock"
    favordynmods: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> _Profile:
        """What is named must be there, and nothing may be there twice."""
        found: list[tuple[Path, str]] = []
        for name, authority in self.authorities.items():
            for kind, wanted, there in (
                ("serial", authority.serial, set(self.serial)),
                ("gpio", authority.gpio, set(self.gpio)),
            ):
                for index, entry in enumerate(wanted):
                    if entry != "*" and entry not in there:
                        found.append((("authorities", name, kind, index), f"this profile has no {kind}.{entry}"))
        places = {("gpio", name, "offset"): f"{line.chip} {line.offset}" for name, line in self.gpio.items()}
        places |= {("serial", name, "device"): port.device for name, port in self.serial.items()}
        interfaces = [uplink.interface for uplink in self.uplink]
        for index, name in enumerate(interfaces):
            if name in interfaces[:index]:
                found.append((("uplink", index, "interface"), f"{name} is named twice"))
        seen: dict[str, str] = {}
        for path, place in places.items():
            other = seen.setdefault(place, path[1])
            if other != path[1]:
                found.append((path, f"{other} is the same"))
        if found:
            raise faults(found)
        return self


def parse_profile(text: bytes, name: str = "profile") -> profile.Profile:
    """The board. InvalidInput with all faults; `name` is the file's, for messages."""
    document = check(_Profile, parse_toml(text, name, MAX_PROFILE_BYTES), name)
    return profile.Profile(
        name=document.name,
        architecture=document.architecture,
        authorities={name: authority.build() for name, authority in document.authorities.items()},
        serial=tuple(port.build(name) for name, port in document.serial.items()),
        gpio=tuple(line.build(name) for name, line in document.gpio.items()),
        plain_http_registries=tuple(document.plain_http_registries),
        reserved_memory_bytes=document.reserved_memory_bytes,
        reserved_disk_bytes=document.reserved_disk_bytes,
        runtimes=tuple(dict.fromkeys(document.runtimes)),
        engines=tuple(dict.fromkeys(document.engines)),
        docker_socket=document.docker_socket,
        network=document.network.build(),
        uplinks=tuple(uplink.build() for uplink in document.uplink),
        favordynmods=document.favordynmods,
    )
