"""A bad link of a test site: a TCP proxy on the loopback that is slow, cuts connections and counts what goes through.

Stands between a client and one server port; used for pulls over a link that drops.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType

PIECE_BYTES = 16 << 10


class BadLink:
    """`moved` counts the bytes from the server to the client. All settings may be changed while it runs."""

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.cut_after_bytes = 0
        """A connection is reset after that many bytes from the server; 0: never."""
        self.bytes_per_second = 0
        """0: as fast as it can."""
        self.refuse = False
        """New connections are closed at once: the link is down."""
        self.moved = 0
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._stopping = False

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self._spawn(self._accept)

    def stop(self) -> None:
        """Returns when all its threads have ended."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5.0)

    def cut(self) -> None:
        """Cut whatever is open now."""
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _spawn(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuse:
                client.close()
            else:
                self._spawn(self._connection, client)

    def _connection(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.server_port)) as server:
            self._open |= {client, server}
            try:
                self._spawn(self._upstream, client, server)
                self._downstream(server, client)
            finally:
                self._open -= {client, server}
                for sock in (client, server):
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)

    def _upstream(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(PIECE_BYTES):
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    def _downstream(self, server: socket.socket, client: socket.socket) -> None:
        sent = 0
        while data := server.recv(PIECE_BYTES):
            if self.cut_after_bytes:
                data = data[: self.cut_after_bytes - sent]
            client.sendall(data)
            sent += len(data)
            self.moved += len(data)
            if self.cut_after_bytes and sent >= self.cut_after_bytes:
                self.cuts += 1
                return
            if self.bytes_per_second:
                time.sleep(len(data) / self.bytes_per_second)

    def __enter__(self) -> BadLink:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
