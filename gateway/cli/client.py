"""Calls the agent's admin socket."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.errors import Unavailable, from_json

TIMEOUT_S = 90.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float | None) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Agent:
    """The running agent behind `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def call(self, method: str, target: str, body: bytes = b"", *, timeout_s: float = TIMEOUT_S) -> Any:
        """Its JSON answer; raises the error that it answered, Unavailable when it does not run."""
        connection = _UnixConnection(self._path, timeout_s)
        try:
            return json.loads(self._request(connection, method, target, body).read() or b"null")
        finally:
            connection.close()

    def stream(self, target: str, method: str = "GET") -> Iterator[Any]:
        """One JSON value per line, until the agent ends it; raises the error that it ends with."""
        connection = _UnixConnection(self._path, None)
        try:
            for line in self._request(connection, method, target, b""):
                value = json.loads(line)
                if isinstance(value, dict) and value.keys() == {"error"}:
                    raise from_json(value["error"])
                yield value
        finally:
            connection.close()

    def _request(
        self, connection: http.client.HTTPConnection, method: str, target: str, body: bytes
    ) -> http.client.HTTPResponse:
        try:
            connection.request(method, target, body)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as failure:
            raise Unavailable(
                f"cannot reach the agent at {self._path}: {failure}", hint="is it running? fieldgate run --profile ..."
            ) from failure
        if answer.status >= 400:
            raise from_json(json.loads(answer.read() or b"{}"))
        return answer
