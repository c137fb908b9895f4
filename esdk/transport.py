"""HTTP/1.1 on a Unix socket, just enough of it: one persistent connection, one request at a time, JSON bodies.

The standard library's http.client takes three times as long per call, which on a small board is what an APP notices.
"""

from __future__ import annotations

import json
import socket
from typing import Any, Dict, Iterator, Optional, Tuple

from esdk.errors import AgentAway, EsdkError, from_answer

MAX_ANSWER_BYTES = 16 << 20
MAX_HEADER_BYTES = 64 << 10


class Connection:
    """Connects when it is first needed, and again after the agent was away."""

    def __init__(self, path: str, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._socket: Optional[socket.socket] = None
        self._buffer = b""

    def call(self, method: str, target: str, body: Any = None, headers: Optional[Dict[str, str]] = None) -> Any:
        """The decoded JSON answer. An EsdkError says why not; AgentAway when nobody answers.

        A connection that was closed while idle is opened again once: the agent may have been restarted meanwhile. A
        request is not sent twice after the agent may have begun it, unless it changes nothing or carries a key.
        """
        request = _render(method, target, body, headers or {})
        repeatable = method in ("GET", "PUT") or bool(headers and "Idempotency-Key" in headers)
        fresh = self._socket is None
        try:
            status, answer = self._exchange(request)
        except (OSError, EOFError) as failure:
            self.close()
            if fresh or not repeatable:
                raise AgentAway("cannot reach the gateway: {}".format(failure)) from failure
            try:
                status, answer = self._exchange(request)
            except (OSError, EOFError) as again:
                self.close()
                raise AgentAway("cannot reach the gateway: {}".format(again)) from again
        document = json.loads(answer) if answer else None
        if status >= 400:
            raise from_answer(document)
        return document

    def stream(self, target: str) -> Iterator[Dict[str, Any]]:
        """Server-sent events of a GET, on a connection of its own; ends when the gateway ends it."""
        connection = Connection(self._path, 60.0)
        try:
            connection._connect()
            connection._send(_render("GET", target, None, {}))
            status, headers = connection._head()
            if status >= 400:
                length = int(headers.get("content-length", "0"))
                raise from_answer(json.loads(connection._exactly(length) or b"null"))
            for event in connection._events():
                yield event
        except (OSError, EOFError) as failure:
            raise AgentAway("the stream of events broke: {}".format(failure)) from failure
        finally:
            connection.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._buffer = b""

    def _connect(self) -> None:
        if self._socket is None:
            connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connected.settimeout(self._timeout_s)
                connected.connect(self._path)
            except BaseException:
                connected.close()
                raise
            self._socket = connected
            self._buffer = b""

    def _exchange(self, request: bytes) -> Tuple[int, bytes]:
        self._connect()
        self._send(request)
        status, headers = self._head()
        length = int(headers.get("content-length", "0"))
        if length > MAX_ANSWER_BYTES:
            raise EsdkError("the gateway's answer has {} bytes".format(length))
        body = self._exactly(length)
        if headers.get("connection", "") == "close":
            self.close()
        return status, body

    def _send(self, data: bytes) -> None:
        assert self._socket is not None
        self._socket.sendall(data)

    def _more(self) -> None:
        assert self._socket is not None
        data = self._socket.recv(65536)
        if not data:
            raise EOFError("the gateway closed the connection")
        self._buffer += data

    def _head(self) -> Tuple[int, Dict[str, str]]:
        while b"\r\n\r\n" not in self._buffer:
            if len(self._buffer) > MAX_HEADER_BYTES:
                raise EsdkError("the gateway's headers do not end")
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip().lower()
        return int(lines[0].split(" ", 2)[1]), headers

    def _exactly(self, length: int) -> bytes:
        while len(self._buffer) < length:
            self._more()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return body

    def _events(self) -> Iterator[Dict[str, Any]]:
        text = b""
        for chunk in self._chunks():
            text += chunk
            while b"\n\n" in text:
                event, _, text = text.partition(b"\n\n")
                if event.startswith(b"data: "):
                    yield json.loads(event[6:])

    def _chunks(self) -> Iterator[bytes]:
        while True:
            while b"\r\n" not in self._buffer:
                self._more()
            size, _, self._buffer = self._buffer.partition(b"\r\n")
            length = int(size, 16)
            if length == 0:
                return
            yield self._exactly(length + 2)[:-2]


def _render(method: str, target: str, body: Any, headers: Dict[str, str]) -> bytes:
    data = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    lines = ["{} {} HTTP/1.1".format(method, target), "Host: esdk", "Content-Length: {}".format(len(data))]
    lines += ["{}: {}".format(name, value) for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + data
