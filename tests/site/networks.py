"""A site in network namespaces of the test's own: the gateway, in which this process is, and a peer on its LAN.

The machine's own network is never touched. The peer has servers that say who is asking, and clients.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final

from gateway.host import netns

GATEWAY: Final = ("192.0.2.1", "2001:db8::1")
PEER: Final = ("192.0.2.2", "2001:db8::2")
TIMEOUT_S: Final = 3.0


def ip(*arguments: str) -> str:
    """ip(8) in the namespace that this thread is in."""
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


class Site:
    """Enter it: the calling thread is then in the gateway's namespace, until the end."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.directory = Path(tempfile.mkdtemp(prefix="fgnet-", dir="/run"))
        self._peer = self.directory / "peer"

    def __enter__(self) -> Site:
        gateway = self.directory / "gateway"
        self._stack.callback(self.directory.rmdir)
        for pin in (gateway, self._peer):
            netns.pin_new(pin)
            self._stack.callback(netns.unpin, pin)
        self._stack.enter_context(netns.entered(gateway))
        ip("link", "set", "lo", "up")
        ip("link", "add", "lan0", "type", "veth", "peer", "name", "eth0", "netns", str(self._peer))
        self._address("lan0", GATEWAY)
        with netns.entered(self._peer):
            ip("link", "set", "lo", "up")
            self._address("eth0", PEER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @staticmethod
    def _address(interface: str, addresses: tuple[str, str]) -> None:
        ip("address", "add", f"{addresses[0]}/24", "dev", interface)
        ip("address", "add", f"{addresses[1]}/64", "dev", interface, "nodad")
        ip("link", "set", interface, "up")

    def add_peer_address(self, address: str) -> None:
        with netns.entered(self._peer):
            ip("address", "add", address, "dev", "eth0")

    @contextmanager
    def from_peer(self) -> Iterator[None]:
        """Sockets that are made inside belong to the peer."""
        with netns.entered(self._peer):
            yield

    def peer_listens(self, port: int, *, udp: bool = False) -> AbstractContextManager[None]:
        return listens(self._peer, port, udp=udp)


@contextmanager
def listens(namespace: Path, port: int, *, udp: bool = False) -> Iterator[None]:
    """A server on all addresses of a pinned namespace: it tells every client that client's address."""
    with netns.entered(namespace):
        server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        last = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("::", port))
    if not udp:
        server.listen(16)
    answering = threading.Thread(target=_answer_datagrams if udp else _answer_connections, args=(server,))
    answering.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        if udp:  # shutdown does not wake a reader of datagrams
            last.sendto(b"", ("::1", port))
        answering.join()
        server.close()
        last.close()


def _plain(address: str) -> str:
    return address.removeprefix("::ffff:")


def _answer_connections(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, client = server.accept()
            with connection:
                connection.sendall(f"saw {_plain(client[0])}\n".encode())


def _answer_datagrams(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            data, client = server.recvfrom(1024)
            if not data:
                return
            server.sendto(f"saw {_plain(client[0])}\n".encode(), client)


def ask(address: str, port: int, *, udp: bool = False) -> str:
    """What the server there says; empty when it cannot be reached."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT_S)
        try:
            connection.connect((address, port))
            if udp:
                connection.send(b"who am I\n")
            return connection.recv(1024).decode().strip()
        except OSError:
            return ""
