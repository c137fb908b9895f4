"""A registry that does what a test tells it to: one function from request to answer, on a port of the loopback.

For the behaviours that Debian's docker-registry does not show: tokens, redirects, no ranges, lies.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, Mapping[str, str], bytes]


@dataclass
class Seen:
    """One request: its path with the query, and its headers."""

    path: str
    headers: dict[str, str]


@dataclass
class Scripted:
    host: str
    seen: list[Seen] = field(default_factory=list)


@contextlib.contextmanager
def scripted(answer: Callable[[Seen], Answer]) -> Iterator[Scripted]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            request = Seen(self.path, {key.lower(): value for key, value in self.headers.items()})
            state.seen.append(request)
            status, headers, body = answer(request)
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Scripted(f"127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
