"""Networks of services on a daemon: its own bridges, one pair per APP, as far as they can be what the manifest says.

    fieldgate.APP        internal: the services of the APP reach each other, by name, and nothing beyond the gateway
    fieldgate.APP.out    a bridge with a way out, for services that may reach `any`; published ports lead there

A daemon cannot close a bridge with a way out to all but some destinations, nor open one port of another APP: what asks
for that is refused by its key. `decide` is pure; `Networks` makes and removes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from gateway.engines.base import ContainerSpec
from gateway.engines.docker.http import Api
from gateway.engines.docker.inspection import APP, INSTANCE
from gateway.errors import Conflict, NotFound, NotSupported, ToolFailed
from gateway.model.network import ANY, GATEWAY, Network

log = logging.getLogger(__name__)

_OUT: Final = ".out"
_HOST_GATEWAY: Final = "host-gateway"
"""Compose's word for the address of the box, in `extra_hosts`."""


@dataclass(frozen=True, slots=True)
class Membership:
    """Which networks a container is to be in: `none`, `host`, or bridges of its APP."""

    mode: str = "none"
    inner: bool = False
    outer: bool = False


def decide(spec: ContainerSpec, engine: str) -> Membership:
    """NotSupported names the key that the daemon's bridges cannot do."""
    if spec.host_network:
        return Membership("host")
    if spec.network is None:
        return Membership()
    _refuse(spec, spec.network, engine)
    outer = any(entry.host == ANY for entry in spec.network.egress)
    inner = bool(spec.siblings) or any(entry.host == GATEWAY for entry in spec.network.egress)
    return Membership("bridge", inner, outer) if inner or outer else Membership()


def _refuse(spec: ContainerSpec, network: Network, engine: str) -> None:
    what = f"cannot create {spec.id}: engine {engine} "
    if network.reach:
        raise NotSupported(f"{what}does not support `x-esdk.network.reach`")
    for entry in network.egress:
        if entry.host not in (ANY, GATEWAY) or entry.ports is not None:
            raise NotSupported(
                f"{what}does not support `x-esdk.network.egress` to {entry}: only to `{ANY}` and `{GATEWAY}`, all ports"
            )
    if network.ports and not any(entry.host == ANY for entry in network.egress):
        raise NotSupported(
            f"{what}does not support `ports` of a closed service: what publishes may reach everything there",
            hint="x-esdk.network.egress: [any]",
        )


@dataclass(frozen=True, slots=True)
class Bridges:
    """Networks of the daemon that a container is to be in."""

    names: tuple[str, ...] = ()
    gateway: str = ""
    """The address of the box in the first of them."""


class Networks:
    """One agent's networks with one daemon."""

    def __init__(self, api: Api, group: str) -> None:
        self._api = api
        self._group = group

    async def ensure(self, app: str, membership: Membership) -> Bridges:
        """Make what is missing. The container is to be created in the first and connected to the others."""
        inner = f"{self._group}.{app}"
        names = [inner] * membership.inner + [inner + _OUT] * membership.outer
        for name in names:
            await self._create(name, app, internal=name == inner)
        if not names:
            return Bridges()
        found = await self._api.call("GET", f"/networks/{names[0]}")
        addresses = [entry.get("Gateway", "") for entry in (found.get("IPAM") or {}).get("Config") or ()]
        return Bridges(tuple(names), next((address for address in addresses if "." in address), ""))

    async def connect(self, network: str, container: str, service: str) -> None:
        body = {"Container": container, "EndpointConfig": {"Aliases": [service]}}
        await self._api.call("POST", f"/networks/{network}/connect", None, body)

    async def sweep(self, apps: Collection[str]) -> None:
        """Remove those of APPs that have no container."""
        for entry in await self._listed():
            if entry["Labels"].get(APP) not in apps:
                try:
                    await self._api.call("DELETE", f"/networks/{entry['Name']}")
                    log.info("network removed name=%s", entry["Name"])
                except (NotFound, Conflict, ToolFailed) as failure:
                    log.debug("network stays name=%s cause=%s", entry["Name"], failure)

    async def _create(self, name: str, app: str, *, internal: bool) -> None:
        if any(entry["Name"] == name for entry in await self._listed()):
            return
        body = {
            "Name": name, "CheckDuplicate": True, "Driver": "bridge", "Internal": internal,
            "Labels": {INSTANCE: self._group, APP: app},
        }  # fmt: skip
        try:
            await self._api.call("POST", "/networks/create", None, body)
        except Conflict:
            return  # another service of the APP was faster
        log.info("network made name=%s", name)

    async def _listed(self) -> list[dict[str, Any]]:
        filters = json.dumps({"label": [f"{INSTANCE}={self._group}"]})
        return await self._api.call("GET", "/networks", {"filters": filters}) or []


def settings(spec: ContainerSpec, membership: Membership, bridges: Bridges) -> dict[str, Any]:
    """The parts of a create request that concern the network: `HostConfig`, and others beside it. Pure."""
    network = spec.network or Network()
    if not bridges.names:
        return {"HostConfig": {"NetworkMode": membership.mode}}
    first = bridges.names[0]
    hosts = {GATEWAY: _HOST_GATEWAY, **network.extra_hosts}
    host: dict[str, Any] = {
        "NetworkMode": first,
        "ExtraHosts": [f"{k}:{bridges.gateway if v == _HOST_GATEWAY else v}" for k, v in hosts.items()],
        "Dns": list(network.dns),
    }
    made: dict[str, Any] = {
        "HostConfig": host,
        "NetworkingConfig": {"EndpointsConfig": {first: {"Aliases": [spec.service]}}},
    }
    if network.ports:
        bindings: dict[str, list[dict[str, str]]] = {}
        for port in network.ports:
            entry = {"HostIp": port.host_ip, "HostPort": str(port.published)}
            bindings.setdefault(f"{port.target}/{port.protocol}", []).append(entry)
        host["PortBindings"] = bindings
        made["ExposedPorts"] = {name: {} for name in bindings}
    return made
