"""The nftables rules: one table, whose rules never change, and what is in its maps, sets and egress chains. Pure.

`contents` says what must be in there for these links, `table` writes the whole table, `change` the few elements that
differ: to publish a port is to add one element. Every script is one transaction.

What comes from an APP is judged once, before any address is rewritten (`from_apps`): its source must be its own; other
APPs by `peers` and `reach`; everything else by the link's own chain `egress_SLOT`. Only then published ports are
rewritten (`published`), so that an APP that may not reach a port cannot do so through the gateway's address either.
Source: nft(8).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.model.network import ANY, GATEWAY, Destination, Ports, network_of
from gateway.network.layout import GATEWAY_SLOT, Layout, Link

SETS: Final = {
    "own4": "set own4 { type ifname . ipv4_addr; }",
    "own6": "set own6 { type ifname . ipv6_addr; }",
    "peers4": "set peers4 { type ipv4_addr . ipv4_addr; }",
    "peers6": "set peers6 { type ipv6_addr . ipv6_addr; }",
    "reach4": "set reach4 { type ipv4_addr . ipv4_addr . inet_proto . inet_service; }",
    "reach6": "set reach6 { type ipv6_addr . ipv6_addr . inet_proto . inet_service; }",
    "publish4": "map publish4 { type inet_proto . inet_service : ipv4_addr . inet_service; }",
    "publish6": "map publish6 { type inet_proto . inet_service : ipv6_addr . inet_service; }",
    "publish_at4": "map publish_at4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }",
    "publish_at6": "map publish_at6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }",
    "egress": "map egress { type ifname : verdict; }",
}
DNS: Final = 53


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in the table. Elements of a map are `KEY : VALUE`."""

    elements: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By set or map."""
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The egress chains and their rules."""


def contents(
    layout: Layout,
    links: Mapping[str, Link],
    addresses: Mapping[str, Sequence[str]],
    servers: Mapping[str, Sequence[str]],
) -> Contents:
    """`addresses`: of the names in their egress; `servers`: the name servers that each link (by key) may ask."""
    elements: dict[str, set[str]] = {name: set() for name in SETS}
    chains: dict[str, tuple[str, ...]] = {}
    for link in links.values():
        name = f'"{layout.interface(link.slot)}"'
        for address in layout.addresses(link.slot):
            elements[f"own{_version(address)}"].add(f"{name} . {address}")
        _publish(layout, link, elements)
        _open(layout, link, links, elements)
        rules = tuple(_egress(link.network.egress, addresses, servers.get(link.key, ())))
        if rules:
            chains[f"egress_{link.slot}"] = rules
            elements["egress"].add(f"{name} : jump egress_{link.slot}")
    return Contents({name: frozenset(entries) for name, entries in elements.items()}, chains)


def _publish(layout: Layout, link: Link, elements: dict[str, set[str]]) -> None:
    for port in link.network.ports:
        everywhere = port.host_ip in ("", "0.0.0.0", "::")
        for address in layout.addresses(link.slot):
            version = _version(address)
            if port.host_ip and _version(port.host_ip) != version:
                continue
            at = "" if everywhere else f"{port.host_ip} . "
            target = f"{port.protocol} . {port.published} : {address} . {port.target}"
            elements[f"publish{version}" if everywhere else f"publish_at{version}"].add(f"{at}{target}")


def _open(layout: Layout, link: Link, links: Mapping[str, Link], elements: dict[str, set[str]]) -> None:
    for other in links.values():
        pairs = zip(layout.addresses(link.slot), layout.addresses(other.slot), strict=True)
        if other.app == link.app and other.service != link.service:
            for own, theirs in pairs:
                elements[f"peers{_version(own)}"].add(f"{own} . {theirs}")
            continue
        for reach in link.network.reach:
            named = (reach.app, reach.service) == (other.app, other.service)
            if named and other.network.exposes(reach.port, reach.protocol):
                for own, theirs in zip(layout.addresses(link.slot), layout.addresses(other.slot), strict=True):
                    elements[f"reach{_version(own)}"].add(f"{own} . {theirs} . {reach.protocol} . {reach.port}")


def _egress(
    destinations: Sequence[Destination], addresses: Mapping[str, Sequence[str]], servers: Sequence[str]
) -> Iterable[str]:
    for destination in destinations:
        ports = _match_ports(destination.ports)
        if destination.host == ANY:
            yield f"fib daddr type != local {ports}accept"
        elif destination.host == GATEWAY:
            yield f"fib daddr type local {ports}accept"
        else:
            found = addresses.get(destination.host, ()) if destination.is_name else [destination.host]
            for version, word in ((4, "ip"), (6, "ip6")):
                if matching := sorted(address for address in found if _version(address) == version):
                    yield f"{word} daddr {{ {', '.join(matching)} }} {ports}accept"
    for server in servers:
        word = "ip" if _version(server) == 4 else "ip6"
        yield f"{word} daddr {server} meta l4proto {{ tcp, udp }} th dport {DNS} accept"


def _match_ports(ports: Ports | None) -> str:
    """With a space at its end."""
    if ports is None:
        return ""
    protocol = f"meta l4proto {ports.protocol} " if ports.protocol else "meta l4proto { tcp, udp } "
    if (ports.first, ports.last) == (0, 65535):
        return protocol
    return f"{protocol}th dport {ports.first if ports.first == ports.last else f'{ports.first}-{ports.last}'} "


def _version(address: str) -> int:
    network = network_of(address)
    assert network is not None, address
    return network.version


def table(layout: Layout, wanted: Contents, forwarding_begun: Sequence[str] = ()) -> str:
    """The whole table, in the place of the one that may be there.

    `forwarding_begun`: of `ipv4`, `ipv6`, where the machine was no router before: nor does it become one for others.
    """
    lines = [f"add table inet {layout.table}", f"delete table inet {layout.table}", f"table inet {layout.table} {{"]
    lines += [f"\t{declaration}" for declaration in SETS.values()]
    for name, rules in wanted.chains.items():
        lines += _chain(name, *rules)
    lines += _rules(layout, forwarding_begun)
    lines += ["}", *_added(layout, {}, wanted.elements)]
    return "\n".join(lines) + "\n"


def _rules(layout: Layout, forwarding_begun: Sequence[str]) -> Iterable[str]:
    apps, gateway = f'"{layout.prefix}*"', GATEWAY_SLOT
    yield from _chain(
        "refused",
        "counter meta l4proto tcp reject with tcp reset",  # ICMP errors are rationed, and a client waits for them
        "counter reject with icmpx admin-prohibited",
    )
    yield from _chain(
        "to_apps",
        "ip saddr . ip daddr @peers4 accept",
        "ip6 saddr . ip6 daddr @peers6 accept",
        "ip saddr . ip daddr . meta l4proto . th dport @reach4 accept",
        "ip6 saddr . ip6 daddr . meta l4proto . th dport @reach6 accept",
        "goto refused",
    )
    own6 = f"ip6 daddr {layout.range6} ip6 daddr != {layout.ipv6(gateway)} goto to_apps" if layout.range6 else ""
    yield from _chain(
        "from_apps",
        "type filter hook prerouting priority mangle; policy accept;",
        f"iifname != {apps} accept",
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
        "ip daddr 127.0.0.0/8 drop",  # route_localnet would let it in
        "meta nfproto ipv4 iifname . ip saddr != @own4 drop",
        "meta nfproto ipv6 iifname . ip6 saddr != @own6 drop",
        "ct state established,related accept",
        f"ip daddr {layout.range4} ip daddr != {layout.ipv4(gateway)} goto to_apps",
        own6,
        "iifname vmap @egress",
        "goto refused",
    )
    yield from _chain(
        "published",
        "ip6 daddr ::1 return",  # Linux leads 127.0.0.1 elsewhere (route_localnet), but never ::1: refused at once
        *(
            f"dnat {word} to {at}meta l4proto . th dport map @publish{where}"
            for where, word, at in (
                ("_at4", "ip", "ip daddr . "), ("_at6", "ip6", "ip6 daddr . "), ("4", "ip", ""), ("6", "ip6", ""),
            )
        ),
    )  # fmt: skip
    for name, hook, priority in (("publish", "prerouting", "dstnat"), ("publish_here", "output", "-100")):
        yield from _chain(
            name, f"type nat hook {hook} priority {priority}; policy accept;", "fib daddr type local jump published"
        )
    yield from _chain(
        "forward",
        "type filter hook forward priority filter; policy accept;",
        "ct state established,related accept",
        f"iifname {apps} accept",
        f"oifname {apps} ct status dnat accept",
        f"oifname {apps} goto refused",
        *(f"meta nfproto {family} drop" for family in forwarding_begun),
    )
    inside = [f"ip saddr {layout.range4}", f"ip6 saddr {layout.range6}" if layout.range6 else ""]
    yield from _chain(
        "leave",
        "type nat hook postrouting priority srcnat; policy accept;",
        *(f"{source} oifname != {apps} masquerade" for source in inside if source),
        f"oifname {apps} ip saddr 127.0.0.0/8 masquerade",
        f"iifname {apps} oifname {apps} ct status dnat masquerade",
    )


def _chain(name: str, *rules: str) -> list[str]:
    return [f"\tchain {name} {{", *(f"\t\t{rule}" for rule in rules if rule), "\t}"]


def change(layout: Layout, present: Contents, wanted: Contents) -> str:
    """From one to the other, as few elements as possible; empty when they are the same."""
    table = f"inet {layout.table}"
    lines = []
    for name, rules in wanted.chains.items():
        if rules != present.chains.get(name):
            lines += [f"add chain {table} {name}", f"flush chain {table} {name}"]
            lines += [f"add rule {table} {name} {rule}" for rule in rules]
    for name in SETS:
        if gone := present.elements.get(name, frozenset()) - wanted.elements.get(name, frozenset()):
            keys = ", ".join(sorted(element.partition(" : ")[0] for element in gone))
            lines.append(f"delete element {table} {name} {{ {keys} }}")
    lines += _added(layout, present.elements, wanted.elements)
    for name in present.chains:
        if name not in wanted.chains:
            lines += [f"flush chain {table} {name}", f"delete chain {table} {name}"]
    return "".join(f"{line}\n" for line in lines)


def _added(layout: Layout, present: Mapping[str, frozenset[str]], wanted: Mapping[str, frozenset[str]]) -> list[str]:
    lines = []
    for name in SETS:
        if new := wanted.get(name, frozenset()) - present.get(name, frozenset()):
            lines.append(f"add element inet {layout.table} {name} {{ {', '.join(sorted(new))} }}")
    return lines


def removal(layout: Layout) -> str:
    return f"add table inet {layout.table}\ndelete table inet {layout.table}\n"
