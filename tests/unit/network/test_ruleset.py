"""The rules: what is in them for which links, and that a change leads where writing all anew would have led."""

from __future__ import annotations

import re
from collections import defaultdict

from hypothesis import given

from gateway.model.network import Network, Ports, PublishedPort, Reach, parse_destination
from gateway.model.profile import NetworkRange
from gateway.network.layout import Layout, Link
from gateway.network.ruleset import SETS, Contents, change, contents, table
from tests.unit.network.links import is_possible, links

LAYOUT = Layout(NetworkRange(), "t1")
ADDRESSES = {"one.test": ("192.0.2.9", "2001:db8::9"), "two.test": ()}
EMPTY = Contents()


def of(*made: Link) -> Contents:
    return contents(LAYOUT, {link.key: link for link in made}, ADDRESSES, {})


class Kernel:
    """What the table holds after scripts ran: the few commands that `change` uses, as nft(8) describes them."""

    def __init__(self, present: Contents) -> None:
        self.elements: dict[str, set[str]] = defaultdict(set)
        self.elements.update({name: set(entries) for name, entries in present.elements.items()})
        self.chains = {name: list(rules) for name, rules in present.chains.items()}

    def run(self, script: str) -> None:
        for line in script.splitlines():
            verb, what, family, table_name, name, *rest = line.split(" ", 5)
            assert (family, table_name) == ("inet", LAYOUT.table)
            getattr(self, f"_{verb}_{what}")(name, rest[0] if rest else "")
        jumps = {element.rpartition(" ")[2] for element in self.elements["egress"]}
        assert jumps <= set(self.chains), "every jump leads somewhere"

    def _add_chain(self, name: str, _: str) -> None:
        self.chains.setdefault(name, [])

    def _flush_chain(self, name: str, _: str) -> None:
        self.chains[name] = []

    def _delete_chain(self, name: str, _: str) -> None:
        assert not self.chains[name]
        assert not any(element.endswith(f" {name}") for element in self.elements["egress"]), "in use"
        del self.chains[name]

    def _add_rule(self, name: str, rule: str) -> None:
        self.chains[name].append(rule)

    def _add_element(self, name: str, entries: str) -> None:
        for entry in self._entries(entries):
            keys = {element.partition(" : ")[0] for element in self.elements[name]}
            assert entry.partition(" : ")[0] not in keys, "it exists"
            self.elements[name].add(entry)

    def _delete_element(self, name: str, entries: str) -> None:
        for key in self._entries(entries):
            (found,) = [element for element in self.elements[name] if element.partition(" : ")[0] == key]
            self.elements[name].remove(found)

    @staticmethod
    def _entries(text: str) -> list[str]:
        return text.removeprefix("{ ").removesuffix(" }").split(", ")

    def contents(self) -> Contents:
        elements = {name: frozenset(self.elements[name]) for name in SETS}
        return Contents(elements, {name: tuple(rules) for name, rules in self.chains.items()})


@given(links().filter(is_possible), links().filter(is_possible))
def test_a_change_leads_to_what_is_wanted(before: dict[str, Link], after: dict[str, Link]) -> None:
    present, wanted = (contents(LAYOUT, made, ADDRESSES, {}) for made in (before, after))
    kernel = Kernel(present)
    kernel.run(change(LAYOUT, present, wanted))
    assert kernel.contents() == wanted
    assert change(LAYOUT, wanted, wanted) == ""


@given(links().filter(is_possible))
def test_the_whole_table_holds_the_same(made: dict[str, Link]) -> None:
    wanted = contents(LAYOUT, made, ADDRESSES, {})
    script = table(LAYOUT, wanted)
    for name, rules in wanted.chains.items():
        body = re.search(rf"chain {name} \{{\n(.*?)\n\t\}}", script, re.DOTALL)
        assert body is not None
        assert tuple(line.strip() for line in body[1].splitlines()) == rules
    kernel = Kernel(Contents({}, wanted.chains))
    kernel.run("".join(f"{line}\n" for line in script.splitlines() if line.startswith("add element")))
    assert kernel.contents() == wanted


@given(links())
def test_nobody_is_let_to_anybody_who_does_not_agree(made: dict[str, Link]) -> None:
    wanted = contents(LAYOUT, made, ADDRESSES, {})
    owner = {address: link for link in made.values() for address in LAYOUT.addresses(link.slot)}
    for element in wanted.elements["peers4"] | wanted.elements["peers6"]:
        one, other = (owner[address] for address in element.split(" . "))
        assert one.app == other.app
    for element in wanted.elements["reach4"] | wanted.elements["reach6"]:
        source, target, protocol, port = element.split(" . ")
        one, other = owner[source], owner[target]
        assert Reach(other.app, other.service, int(port), protocol) in one.network.reach
        assert other.network.exposes(int(port), protocol)


def test_to_publish_is_to_add_elements() -> None:
    link = Link("web", "main", 2, Network(ports=(PublishedPort(8080, 80), PublishedPort(53, 53, "udp", "127.0.0.1"))))
    elements = of(link).elements
    assert elements["publish4"] == {"tcp . 8080 : 10.99.0.2 . 80"}
    assert elements["publish6"] == {"tcp . 8080 : fd67:7761:7900::2 . 80"}
    assert elements["publish_at4"] == {"127.0.0.1 . udp . 53 : 10.99.0.2 . 53"}
    assert elements["publish_at6"] == frozenset()
    assert elements["own4"] == {'"fgt1-2" . 10.99.0.2'}
    script = change(LAYOUT, of(), of(link))
    assert script.count("\n") == 5
    assert all(line.startswith("add element inet fieldgate_t1 ") for line in script.splitlines())


def test_egress() -> None:
    asked = (
        "any:443", "gateway:123/udp", "192.0.2.0/24", "[2001:db8::1]:80-90", "one.test/udp", "two.test:1",
        "192.0.2.1/tcp",
    )  # fmt: skip
    link = Link("app", "main", 2, Network(egress=tuple(parse_destination(text) for text in asked)))
    assert of(link).chains["egress_2"] == (
        "fib daddr type != local meta l4proto tcp th dport 443 accept",
        "fib daddr type local meta l4proto udp th dport 123 accept",
        "ip daddr { 192.0.2.0/24 } accept",
        "ip6 daddr { 2001:db8::1 } meta l4proto tcp th dport 80-90 accept",
        "ip daddr { 192.0.2.9 } meta l4proto udp accept",
        "ip6 daddr { 2001:db8::9 } meta l4proto udp accept",
        "ip daddr { 192.0.2.1 } meta l4proto tcp accept",
    )
    servers = contents(LAYOUT, {link.key: link}, {}, {link.key: ["192.0.2.53"]}).chains["egress_2"][-1]
    assert servers == "ip daddr 192.0.2.53 meta l4proto { tcp, udp } th dport 53 accept"
    assert "egress_3" not in of(Link("app", "other", 3, Network(expose=(Ports(80, 80),)))).chains


def test_without_ipv6_there_is_none() -> None:
    layout = Layout(NetworkRange(ipv6=""))
    link = Link("web", "main", 2, Network(ports=(PublishedPort(8080, 80),)))
    made = contents(layout, {link.key: link}, {}, {})
    assert not any(made.elements[name] for name in SETS if name.endswith("6"))
    assert "ip6 saddr None" not in table(layout, made)


def test_a_machine_that_was_no_router_becomes_none_for_others() -> None:
    assert "meta nfproto ipv4 drop" in table(LAYOUT, EMPTY, ["ipv4"])
    assert "meta nfproto ipv6 drop" not in table(LAYOUT, EMPTY, ["ipv4"])
