"""`x-esdk.host` and `x-esdk.guests`: services that live in the container of another one (docs/hosted-apps.md). Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Final

from pydantic import Field

from gateway.documents.checks import Path, named
from gateway.model import names

HostName = Annotated[str, named(names.HOST)]
Guests = Annotated[list[Annotated[str, named(names.GUEST)]], Field(max_length=32)]

_NETWORK: Final = "a hosted service has the network of its host"
CONTRADICTIONS: Final[dict[str, str]] = {
    "network_mode": _NETWORK,
    "ports": f"{_NETWORK}: the host publishes ports",
    "expose": f"{_NETWORK}: the host exposes ports",
    "dns": _NETWORK,
    "extra_hosts": f"{_NETWORK}, and its names",
    "storage_opt": "a hosted service writes to the root file system of its host, which has the limit",
}
"""Keys that say about a hosted service what its host decides."""
_ESDK_CONTRADICTIONS: Final[dict[str, str]] = {
    "network": _NETWORK,
    "engine": "a hosted service runs where its host runs",
    "guests": "what is hosted cannot be a host itself",
    "standby": "a spare would end with its host, too",
}


def contradictions(keys: Collection[str], esdk_keys: Collection[str], user: str) -> Iterator[tuple[Path, str]]:
    """Faults of a hosted service that has these keys."""
    yield from (((key,), reason) for key, reason in CONTRADICTIONS.items() if key in keys)
    yield from ((("x-esdk", key), reason) for key, reason in _ESDK_CONTRADICTIONS.items() if key in esdk_keys)
    if user.partition(":")[0] in ("0", "root"):
        yield ("user",), "a hosted service cannot be root: leave it out, and it gets a uid of its own"
    if not {"command", "entrypoint"} & set(keys):
        yield ("command",), "is missing: a package has no command of its own"


def bad_hosts(app: str, hosts: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """Hosts within the same APP that cannot be. `hosts`: service -> `app/service` that it lives in, or empty."""
    for name, host in hosts.items():
        host_app, _, host_service = host.partition("/")
        if host_app != app:
            continue
        path = ("services", name, "x-esdk", "host")
        if host_service not in hosts:
            yield path, f"there is no service {host_service} in this file"
        elif hosts[host_service]:
            yield path, f"{host_service} is hosted itself"
