"""Calls the running cloud through its Unix socket."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from cloud.state import State
from gateway.errors import Unavailable, from_json

TIMEOUT_S: Final = 30.0
"""Also between two lines of events: the cloud says `idle` when nothing happens."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError:
            self.sock.close()
            raise


class CloudClient:
    def __init__(self, state: State) -> None:
        self._path = state.socket

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer's JSON; what the cloud refuses comes back as the error that it raised there."""
        with self._answer(method, path, body) as answer:
            return json.loads(answer.read())

    @contextmanager
    def events(self, gateway: str = "") -> Iterator[Iterator[dict[str, Any]]]:
        """Events from now on: within the context the cloud collects them, also while nobody reads."""
        with self._answer("GET", f"/v1/events?gateway={quote(gateway)}", None) as answer:
            lines = self._lines(answer)
            next(lines)  # `watching`: the subscription holds
            yield lines

    def _lines(self, answer: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
        try:
            while line := answer.readline():
                yield json.loads(line)
        except (OSError, http.client.HTTPException) as failure:
            raise self._gone(failure) from failure
        raise Unavailable("cannot watch any longer: the cloud has ended")

    @contextmanager
    def _answer(self, method: str, path: str, body: dict[str, Any] | None) -> Iterator[http.client.HTTPResponse]:
        connection = _UnixConnection(self._path)
        try:
            try:
                content = None if body is None else json.dumps(body)
                connection.request(method, path, content, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                if answer.status >= 400:
                    raise from_json(json.loads(answer.read()))
            except (OSError, http.client.HTTPException, ValueError) as failure:
                raise self._gone(failure) from failure
            yield answer
        finally:
            connection.close()

    def _gone(self, failure: Exception) -> Unavailable:
        return Unavailable(
            f"cannot reach the cloud at {self._path}: {failure}", hint="is `fieldgate-cloud serve` running?"
        )


def path(*parts: str) -> str:
    """`/v1/...` with every part quoted."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)
