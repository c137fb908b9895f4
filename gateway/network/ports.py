"""Whether a port of the gateway can be published: nobody here publishes it, and no program of the gateway has it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from gateway.errors import Conflict
from gateway.model.network import PublishedPort
from gateway.network.layout import Link


def check(link: Link, others: Iterable[Link], already: Iterable[PublishedPort]) -> None:
    """Conflict names the port and who has it. `already`: what the link itself has published until now."""
    known = set(already)
    owned = [(port, other) for other in others if other.key != link.key for port in other.network.ports]
    for port in link.network.ports:
        for theirs, other in owned:
            if port.clashes(theirs):
                raise Conflict(_message(link, port, f"{other.app}/{other.service} publishes {theirs}"))
        if port not in known and is_taken(port):
            raise Conflict(_message(link, port, "a program on the gateway has it"), hint="ss -lnp shows which one")


def _message(link: Link, port: PublishedPort, cause: str) -> str:
    return f"cannot publish port {port} for {link.app}/{link.service}: {cause}"


def is_taken(port: PublishedPort) -> bool:
    """Whether a socket of the gateway listens there (or, for UDP, is bound)."""
    kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
    wanted = [port.host_ip] if port.host_ip else ["0.0.0.0", "::"]
    for address in wanted:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            with socket.socket(family, kind) as probe:
                if kind is socket.SOCK_STREAM:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family is socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((address, port.published))
        except OSError as failure:
            if failure.errno == errno.EADDRINUSE:
                return True
    return False
