"""Links for tests: any set of them that could exist."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st

from gateway.model.network import Destination, Network, Ports, PublishedPort, Reach
from gateway.network.layout import Link

KEYS = [(app, service) for app in ("a", "b", "c") for service in ("x", "y")]
PORTS = st.builds(
    PublishedPort, st.integers(8000, 8003), st.integers(80, 81), st.sampled_from(["tcp", "udp"]),
    st.sampled_from(["", "127.0.0.1", "2001:db8::1", "0.0.0.0"]),
)  # fmt: skip
DESTINATIONS = st.builds(
    Destination,
    st.sampled_from(["any", "gateway", "192.0.2.7", "192.0.2.0/24", "2001:db8::/32", "one.test", "two.test"]),
    st.sampled_from([None, Ports(443, 443, "tcp"), Ports(1, 9, "udp"), Ports(0, 65535, "tcp")]),
)
NETWORKS = st.builds(
    Network,
    ports=st.lists(PORTS, max_size=2).map(tuple),
    expose=st.sampled_from([(), (Ports(80, 80),), (Ports(5000, 5010, "udp"),)]),
    egress=st.lists(DESTINATIONS, max_size=3).map(tuple),
    reach=st.lists(
        st.builds(Reach, st.sampled_from("abc"), st.sampled_from("xy"), st.sampled_from([80, 5000]), st.just("tcp")),
        max_size=2,
    ).map(tuple),
)


@st.composite
def links(draw: st.DrawFn) -> dict[str, Link]:
    chosen = draw(st.lists(st.sampled_from(KEYS), unique=True))
    made = [Link(app, service, 2 + KEYS.index((app, service)), draw(NETWORKS)) for app, service in chosen]
    return {link.key: link for link in made}


def is_possible(made: Mapping[str, Link]) -> bool:
    """`ports.check` lets no two links publish the same port."""
    ports = [port for link in made.values() for port in link.network.ports]
    return not any(one.clashes(other) for index, one in enumerate(ports) for other in ports[:index])
