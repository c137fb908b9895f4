"""One HTTP GET over TLS (or, where the profile permits it, without) by the standard library: streaming and abortable.

Blocking: runs in a worker thread. Follows no redirect and knows no registry: see `registry.py`. Whatever a bad link can
do comes out as Unavailable, which callers may retry; what no retry can cure is another error.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Final
from urllib.parse import urlsplit

from gateway.errors import Corrupted, NotPermitted, Unavailable

CONNECT_TIMEOUT_S: Final = 10.0
READ_TIMEOUT_S: Final = 20.0
STALL_WINDOW_S: Final = 60.0
STALL_BYTES: Final = 4096
"""A link that moves less than this in a window is treated as dropped: a new connection may do better."""
MAX_HEADER_BYTES: Final = 64 << 10
PROFILE_KEY: Final = "plain_http_registries"


def permits_plain(patterns: Sequence[str], netloc: str) -> bool:
    """Whether `netloc` (`host` or `host:port`) matches a pattern as it is or without its port."""
    host = netloc.rpartition(":")[0] if netloc.rpartition(":")[2].isdigit() else netloc
    return any(fnmatch(name.lower(), pattern.lower()) for pattern in patterns for name in (netloc, host))


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed URL."""

    scheme: str
    netloc: str
    path: str

    @classmethod
    def parse(cls, url: str) -> Target:
        """Corrupted: not an http(s) URL that we would follow (it comes from a server)."""
        try:
            parts = urlsplit(url)
            valid = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
            _ = parts.port
        except ValueError:
            valid = False
        if not valid or len(url) > 8192:
            raise Corrupted(f"cannot follow the registry to {url[:200]!r}: not an http or https address")
        return cls(parts.scheme, parts.netloc, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


class Answer:
    """A response whose headers are here and whose body is still on the wire. Close it."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, url: str) -> None:
        self._connection, self._response, self.url = connection, response, url
        self._window_end, self._window_bytes = time.monotonic() + STALL_WINDOW_S, 0
        self.status = response.status

    def header(self, name: str) -> str:
        return self._response.headers.get(name) or ""

    def read(self, limit: int) -> bytes:
        """What has arrived, at least a byte unless the body is over, at most `limit`. Unavailable: the link dropped."""
        try:
            data = self._response.read1(limit)
        except (OSError, ValueError, http.client.HTTPException) as failure:
            raise _dropped(self.url, failure) from failure
        self._window_bytes += len(data)
        if data and time.monotonic() > self._window_end:
            if self._window_bytes < STALL_BYTES:
                raise Unavailable(f"cannot read from {Target.parse(self.url).netloc}: the link has stalled")
            self._window_end, self._window_bytes = time.monotonic() + STALL_WINDOW_S, 0
        return data

    def read_all(self, limit: int) -> bytes:
        """The whole body; Corrupted when it is longer than `limit` bytes, Unavailable when it is cut."""
        body, announced = bytearray(), self.header("Content-Length")
        while data := self.read(65536):
            body += data
            if len(body) > limit:
                raise Corrupted(f"cannot read {self.url[:200]}: longer than {limit} bytes")
        if announced.isdigit() and len(body) != int(announced):
            raise Unavailable(f"cannot read {self.url[:200]}: the link was cut after {len(body)} of {announced} bytes")
        return bytes(body)

    def close(self) -> None:
        self._response.close()
        self._connection.close()

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Transport:
    """Opens connections, at most one at a time. `abort()` may be called from another thread."""

    def __init__(self, plain_http: Sequence[str]) -> None:
        self._plain_http = tuple(plain_http)
        self._connection: http.client.HTTPConnection | None = None
        self._aborted = False

    def base(self, host: str) -> str:
        """`http://host` where the profile permits it, otherwise `https://host`."""
        return f"{'http' if permits_plain(self._plain_http, host) else 'https'}://{host}"

    def get(self, url: str, headers: Mapping[str, str]) -> Answer:
        """Send a GET; returns with the headers of the answer. NotPermitted: plain HTTP that the profile forbids."""
        target = Target.parse(url)
        if target.scheme == "http" and not permits_plain(self._plain_http, target.netloc):
            raise _plain_refused(target.netloc, "it speaks plain HTTP")
        connection = self._connection = self._connect(target)
        try:
            self._check_abort()
            connection.connect()
            self._check_abort()
            connection.sock.settimeout(READ_TIMEOUT_S)
            connection.request("GET", target.path, headers={"Accept-Encoding": "identity", **headers})
            response = connection.getresponse()
        except (OSError, ValueError, http.client.HTTPException) as failure:
            connection.close()
            raise _failed(target.netloc, failure) from failure
        except BaseException:
            connection.close()
            raise
        if sum(len(key) + len(value) for key, value in response.headers.items()) > MAX_HEADER_BYTES:
            connection.close()
            raise Corrupted(f"cannot read from {target.netloc}: more than {MAX_HEADER_BYTES} bytes of headers")
        return Answer(connection, response, url)

    def abort(self) -> None:
        """Make the running request fail at once and refuse all later ones."""
        self._aborted = True
        connection = self._connection
        sock = connection.sock if connection is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _check_abort(self) -> None:
        if self._aborted:
            raise Unavailable("cannot read from the registry: the pull was cancelled")

    def _connect(self, target: Target) -> http.client.HTTPConnection:
        if target.scheme == "http":
            return http.client.HTTPConnection(target.netloc, timeout=CONNECT_TIMEOUT_S)
        return http.client.HTTPSConnection(target.netloc, timeout=CONNECT_TIMEOUT_S)


def _plain_refused(netloc: str, cause: str) -> NotPermitted:
    return NotPermitted(
        f"cannot pull from {netloc}: {cause}, and the firmware profile's `{PROFILE_KEY}` does not permit that",
        hint=f'give the registry a certificate, or add "{netloc}" to `{PROFILE_KEY}` in the profile',
    )


def _failed(netloc: str, failure: Exception) -> Exception:
    """What a failed connection attempt means."""
    reason = getattr(failure, "reason", None)
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return _plain_refused(netloc, "it answers without TLS")
    if reason == "CERTIFICATE_VERIFY_FAILED":
        cause = getattr(failure, "verify_message", "") or "not trusted"
        return Unavailable(
            f"cannot pull from {netloc}: its certificate cannot be verified: {cause}",
            hint="is the gateway's clock right, and is the registry's CA installed?",
        )
    return _dropped(f"https://{netloc}", failure)


def _dropped(url: str, failure: Exception) -> Unavailable:
    cause = getattr(failure, "strerror", None) or str(failure) or type(failure).__name__
    return Unavailable(f"cannot read from {urlsplit(url).netloc}: {cause}")
