"""The firmware profile once accepted: the board's ports and lines, and what each authority may grant to its APPs.

Written by the gateway maker as TOML (docs/firmware-profile.md), parsed by the border worker, used as this dataclass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

JOINING_ENGINES: Final = ("oci", "simulated")
"""Engines that put a container into another one; `oci` also into a container of any other engine."""


@dataclass(frozen=True, slots=True)
class SerialPort:
    """A serial port by the name printed on the case. A `device` that is not absolute lies below the run directory."""

    name: str
    device: str
    baud: int = 9600
    parity: str = "none"
    stop_bits: int = 1
    rs485: bool = False
    """The kernel driver switches the direction (TIOCSRS485)."""


class OnAgentLoss(StrEnum):
    """What an output does while no agent is alive to own it."""

    HOLD = "hold"
    SAFE = "safe"


@dataclass(frozen=True, slots=True)
class GpioLine:
    """A digital line by the name printed on the case, as `offset` of `chip`."""

    name: str
    chip: str
    """`/dev/gpiochip0`, or `simulated:<socket>`; a socket path that is not absolute lies below the run directory."""
    offset: int
    output: bool = False
    safe_value: int = 0
    on_agent_loss: OnAgentLoss = OnAgentLoss.HOLD
    active_low: bool = False


@dataclass(frozen=True, slots=True)
class AuthorityCaps:
    """The most that an authority may grant to its APPs, whatever it signs. `*` in a tuple means all of that kind."""

    serial: tuple[str, ...] = ()
    gpio: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    host_network: bool = False
    ports: tuple[str, ...] = ()
    """Ports of the gateway that its APPs may publish: `8080`, `8000-8099`, `5353/udp`."""
    egress: tuple[str, ...] = ()
    """Destinations that its APPs may reach (`model/network.py`)."""
    memory_bytes: int | None = None
    """The most that one service may ask for."""
    operations: tuple[str, ...] = ("why", "stats")
    """What it may ask of its own APPs (`model.operations.Op`); never `*`. The default tells nothing that reports do not
    tell, too."""
    key_files: tuple[str, ...] = ()
    """Public keys of this authority on the box itself; a path that is not absolute lies below the state directory. An
    authority that has any is not signed for by the keys document."""


@dataclass(frozen=True, slots=True)
class Uplink:
    """A way to the cloud; the profile names them in the order in which they are wanted."""

    interface: str
    kind: str
    """`ethernet`, `wifi` or `cellular`."""
    metered: bool = False
    """Every byte costs."""


@dataclass(frozen=True, slots=True)
class NetworkRange:
    """Where the addresses of the APPs come from. Nothing outside ever sees them."""

    ipv4: str = "10.99.0.0/16"
    ipv6: str = "fd67:7761:7900::/64"
    """Empty: the APPs have no IPv6."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One board."""

    name: str
    architecture: str
    """OCI platform of the images to take: `amd64`, `arm64`, `arm`."""
    authorities: dict[str, AuthorityCaps] = field(default_factory=dict)
    serial: tuple[SerialPort, ...] = ()
    gpio: tuple[GpioLine, ...] = ()
    plain_http_registries: tuple[str, ...] = ()
    """`host` or `host:port` patterns (fnmatch) that may be spoken to without TLS. Everything else needs TLS."""
    reserved_memory_bytes: int = 64 << 20
    """Kept for the system: a pull is refused when the APPs' limits and this do not fit into the RAM."""
    reserved_disk_bytes: int = 64 << 20
    runtimes: tuple[str, ...] = ("crun", "runc")
    """OCI runtimes to try, in this order."""
    engines: tuple[str, ...] = ("oci",)
    """Engines that APPs may run on; the first is the default."""
    docker_socket: str = "/var/run/docker.sock"
    """Of Docker Engine, podman or balenaEngine: whoever answers Docker's API there."""
    network: NetworkRange = NetworkRange()
    uplinks: tuple[Uplink, ...] = ()
    """In order. Empty: default routes are somebody else's business."""
    favordynmods: bool = True
    """Mount option of cgroup2 that makes starts of containers faster, where the kernel has it."""
