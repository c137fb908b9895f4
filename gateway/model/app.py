"""What an APP is once its manifest was accepted: services, their limits, and what each may touch (its grant).

Built by `documents/manifest.py` from a Compose file (docs/app-manifest.md), kept as canonical JSON in the desired
store, read by the planner, the engines and the endpoints. Every default is Compose's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from gateway.model.network import Network
from gateway.model.wire import canonical, to_wire

_MAX_KNOWN: Final = 512
_known: dict[tuple[int, str], tuple[object, str]] = {}
"""Digests by the identity of what they are of; holding it keeps its identity from being another's."""


def content_digest(of: object, content: Callable[[], Any], context: str = "") -> str:
    """`sha256:<hex>` of the canonical JSON of `content()`, once per object and context: none of these ever changes."""
    known = _known.get((id(of), context))
    if known is None:
        if len(_known) >= _MAX_KNOWN:
            _known.clear()
        known = _known[id(of), context] = (of, "sha256:" + hashlib.sha256(canonical(content())).hexdigest())
    return known[1]


class Restart(StrEnum):
    """Compose's `restart`: what the supervisor does when the main process has ended."""

    NO = "no"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"
    UNLESS_STOPPED = "unless-stopped"


class Condition(StrEnum):
    """Compose's `depends_on.<service>.condition`."""

    STARTED = "service_started"
    HEALTHY = "service_healthy"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A probe run inside the container; `retries` failures in a row after `start_period_s` mean unhealthy."""

    test: tuple[str, ...]
    interval_s: float = 30.0
    timeout_s: float = 30.0
    retries: int = 3
    start_period_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """cgroup limits of one service; None is unlimited."""

    cpus: float | None = None
    memory_bytes: int | None = None
    pids: int | None = None
    """None: the engine's own bound (512)."""
    root_bytes: int | None = None
    """What may be written to the root file system, which is gone with the container. None: 64 MiB."""


@dataclass(frozen=True, slots=True)
class VolumeMount:
    """A named volume of the APP at `target` in the container."""

    volume: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class BindMount:
    """A host directory in the container; the firmware profile must permit it."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class TmpfsMount:
    target: str
    size_bytes: int = 16 << 20


@dataclass(frozen=True, slots=True)
class Deadband:
    """A window's mean goes up only if it moved by more than this since the last one sent; 0 sends every change.

    `absolute` is in the tag's unit, `percent` of the last value sent; the larger of the two holds. After
    `max_silence_s` without a record the next window goes up whatever its value: silence means trouble, not steadiness.
    """

    absolute: float = 0.0
    percent: float = 0.0
    max_silence_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Uplink:
    """How the published tags of a service go to the cloud: `stream` names the data stream (the uplink class)."""

    stream: str = "telemetry"
    window_s: float = 1.0
    deadbands: dict[str, Deadband] = field(default_factory=dict)
    """By tag pattern; the longest matching pattern holds."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A local response: while `tag` is beyond its limit, `line` is held at `value`; afterwards the rule lets go of it.

    Exactly one of `above` and `below` is set. `hysteresis` (the tag's unit) is how far back the tag must come. A sample
    that is not of good quality neither sets nor clears.
    """

    name: str
    tag: str
    line: str
    value: int
    above: float | None = None
    below: float | None = None
    hysteresis: float = 0.0


@dataclass(frozen=True, slots=True)
class Grant:
    """What a service may touch on the gateway (`x-esdk`). What is not named is refused."""

    serial: tuple[str, ...] = ()
    """Ports on which it may transact."""
    gpio: dict[str, str] = field(default_factory=dict)
    """Line -> `read` or `write` (which includes reading)."""
    publish: tuple[str, ...] = ()
    """Tag patterns that it may publish."""
    read: tuple[str, ...] = ()
    """Tag patterns that it may read; what it may publish it may read, too."""
    system: tuple[str, ...] = ()
    """Of `info`, `time`."""
    uplink: Uplink | None = None
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """One container of an APP."""

    name: str
    image: str
    """Pinned: `host/repository[:tag]@sha256:<hex>`."""
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    user: str = ""
    working_dir: str = ""
    read_only: bool = False
    restart: Restart = Restart.NO
    stop_grace_period_s: float = 10.0
    stop_signal: str = "SIGTERM"
    healthcheck: HealthCheck | None = None
    limits: Limits = Limits()
    volumes: tuple[VolumeMount, ...] = ()
    binds: tuple[BindMount, ...] = ()
    tmpfs: tuple[TmpfsMount, ...] = ()
    devices: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    host_network: bool = False
    """The gateway's own network; `network` is then None."""
    network: Network | None = None
    """None: a network namespace with nothing but loopback, or the gateway's own."""
    depends_on: dict[str, Condition] = field(default_factory=dict)
    esdk: Grant = Grant()
    host: str = ""
    """`app/service` of the container that it lives in (`x-esdk.host`); `image` is then a package to be put there."""
    guests: tuple[str, ...] = ()
    """`[authority/]app` patterns of the APPs whose services may live in its container (`x-esdk.guests`)."""
    standby: bool = False
    """The next generation is created ahead and waits (`x-esdk.standby`)."""
    engine: str = ""
    """Which of the profile's engines runs it (`x-esdk.engine`); empty: the first one."""
    settings: dict[str, str] = field(default_factory=dict)
    """The APP's own settings (`x-esdk.settings`), readable at `GET /v1/app`."""


@dataclass(frozen=True, slots=True)
class App:
    """An APP: one Compose project."""

    name: str
    services: tuple[Service, ...]
    version: str = ""
    """For people (`x-esdk-version` or the tag of the first image); never compared."""

    @property
    def digest(self) -> str:
        """Identity of the content: two manifests that would run the same have the same digest (`sha256:<hex>`)."""
        return content_digest(self, lambda: to_wire(replace(self, version="")))

    def service(self, name: str) -> Service:
        """The service of that name. KeyError if there is none."""
        for service in self.services:
            if service.name == name:
                return service
        raise KeyError(name)
