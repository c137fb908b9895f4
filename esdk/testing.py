"""A gateway in memory for an APP's own tests, on a laptop without hardware: the real protocol on a real socket.

    with FakeGateway(serial=["RS485-1"], publish=["meter/#"]) as fake:
        fake.answer("RS485-1", registers={0: 2300}, unit=1)
        gateway = esdk.Gateway(fake.path)

`fake.go_away()` and `fake.come_back()` are the agent's restart; `fake.fail("POST", "/v1/tags", "unavailable")` the next
call's error; `fake.lose_answer("POST", "/v1/tags")` does what is asked and then hangs up, as an agent that is killed in
that moment. It checks grants as the gateway does, but not limits and ranges: docs/esdk.md names those.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import socketserver
import struct
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple
from urllib.parse import parse_qs, unquote, urlsplit

from esdk.modbus import crc16

Answer = Callable[[bytes], Optional[bytes]]
_STATUS = {"invalid_input": 400, "not_permitted": 403, "not_found": 404, "conflict": 409, "corrupted": 500,
           "unavailable": 503, "timed_out": 504}  # fmt: skip


_LOST = "lost"


class Refused(Exception):
    """What the fake answers instead: `code` as in esdk.errors."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.body = {"code": code, "message": message, **({"hint": hint} if hint else {})}
        self.status = _STATUS[code]


class FakeGateway:
    """`published`: every accepted batch as (samples, durable, key), one per key. `lines`: values of digital lines."""

    def __init__(
        self,
        serial: Sequence[str] = (),
        gpio: Optional[Mapping[str, str]] = None,
        publish: Sequence[str] = ("#",),
        read: Sequence[str] = (),
        settings: Optional[Mapping[str, str]] = None,
        directory: str = "",
    ) -> None:
        """`directory`: an existing one for its socket, which stays; by default a new one, which goes."""
        self.serial = tuple(serial)
        self.gpio = dict(gpio or {})
        self.publish = tuple(publish)
        self.read = tuple(read)
        self.settings = dict(settings or {})
        self.published: List[Tuple[List[Dict[str, Any]], bool, str]] = []
        self.latest: Dict[str, Dict[str, Any]] = {}
        self.lines = dict.fromkeys(self.gpio, 0)
        self.lock = threading.Lock()
        self.readers: List[Tuple[str, "queue.Queue[Optional[Dict[str, Any]]]"]] = []
        self.failures: List[Tuple[str, str, str]] = []
        self._answers: Dict[str, Answer] = {}
        self._directory = directory
        self._temporary = not directory
        self.path = ""
        self._server: Optional[_Server] = None
        self._thread: Optional[threading.Thread] = None

    def answer(self, port: str, answer: Optional[Answer] = None, registers: Optional[Mapping[int, int]] = None,
               unit: int = 1) -> None:  # fmt: skip
        """What is on `port`: a function of the request (None: silence), or a Modbus device with these registers."""
        self._answers[port] = answer or _device(dict(registers or {}), unit)

    def fail(self, method: str, path: str, code: str) -> None:
        """The next call of that method below `path` ends in this error; may be called several times."""
        with self.lock:
            self.failures.append((method, path, code))

    def lose_answer(self, method: str, path: str) -> None:
        """The next call of that method below `path` is carried out, but its answer never arrives."""
        self.fail(method, path, _LOST)

    def go_away(self) -> None:
        """The agent is gone: nobody answers, every connection is cut."""
        server, thread, self._server, self._thread = self._server, self._thread, None, None
        if server is None or thread is None:
            return
        with self.lock:
            for _, events in self.readers:
                events.put(None)
        os.unlink(self.path)
        server.shutdown()
        server.cut()
        server.server_close()
        thread.join()

    def come_back(self) -> None:
        """A new agent on the same path. Tags and lines are as they were."""
        self._server = _Server(self.path, self)
        os.chmod(self.path, 0o666)  # as a gateway's: the APP's user is whoever its image says
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> "FakeGateway":
        if self._temporary:
            self._directory = tempfile.mkdtemp(prefix="esdk-")
        self.path = os.path.join(self._directory, "esdk.sock")
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.come_back()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_away()
        if self._temporary:
            shutil.rmtree(self._directory, ignore_errors=True)

    def transact(self, port: str, request: bytes) -> bytes:
        if port not in self.serial:
            raise _refuse("use serial port {}".format(port), "serial.{}: transact".format(port))
        device = self._answers.get(port)
        answer = device(request) if device is not None else None
        if answer is None:
            raise Refused("timed_out", "cannot get an answer on {}: none in time".format(port))
        return answer

    def take(self, samples: List[Dict[str, Any]], durable: bool, key: str) -> None:
        for sample in samples:
            if not any(matches(pattern, sample["tag"]) for pattern in self.publish):
                raise _refuse("publish tag " + sample["tag"], "tags.publish: [{}]".format(sample["tag"]))
        with self.lock:
            if key and any(known == key for _, _, known in self.published):
                return
            self.published.append((samples, durable, key))
            for given in samples:
                sample = {"unit": "", "quality": "good", "time_ns": time.time_ns(), "source": "app.service", **given}
                self.latest[sample["tag"]] = sample
                for pattern, events in self.readers:
                    if matches(pattern, sample["tag"]):
                        events.put(sample)

    def may_read(self, tag: str) -> bool:
        return any(matches(pattern, tag) for pattern in (*self.read, *self.publish))


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = False

    def __init__(self, path: str, fake: FakeGateway) -> None:
        self.fake = fake
        self._open: List[Any] = []
        super().__init__(path, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append(request)
        super().process_request(request, client_address)

    def cut(self) -> None:
        for connection in self._open:
            try:
                connection.shutdown(2)
            except OSError:
                pass

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was cut is not worth a traceback."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_GET

    def _serve(self) -> None:
        fake, target = self.server.fake, urlsplit(self.path)
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            lost = self._maybe_fail(fake, target.path)
            match = parse_qs(target.query).get("match", ["#"])[0]
            if target.path == "/v1/tags/events":
                self._events(fake, match)
                return
            parts = [unquote(part) for part in target.path.split("/")[2:]]
            answer = _call(fake, self.command, parts, match, data, self.headers.get("Idempotency-Key", ""))
            if lost:
                self.close_connection = True
                return
            self._send(200, answer)
        except Refused as refused:
            self._send(refused.status, refused.body)
        except (ValueError, KeyError, TypeError) as fault:
            self._send(400, {"code": "invalid_input", "message": "cannot read the request: {!r}".format(fault)})

    def _maybe_fail(self, fake: FakeGateway, path: str) -> bool:
        """Raises the failure that the test wanted; True when only the answer is to be lost."""
        with fake.lock:
            for failure in fake.failures:
                if failure[0] == self.command and path.startswith(failure[1]):
                    fake.failures.remove(failure)
                    if failure[2] == _LOST:
                        return True
                    raise Refused(failure[2], "the test wanted this failure")
        return False

    def _send(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _events(self, fake: FakeGateway, match: str) -> None:
        events: "queue.Queue[Optional[Dict[str, Any]]]" = queue.Queue()
        with fake.lock:
            fake.readers.append((match, events))
        self.close_connection = True
        try:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            event = events.get()
            while event is not None:
                if fake.may_read(event["tag"]):
                    text = b"data: " + json.dumps(event).encode() + b"\n\n"
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
                event = events.get()
            self.wfile.write(b"0\r\n\r\n")
        finally:
            with fake.lock:
                fake.readers.remove((match, events))


def _call(fake: FakeGateway, method: str, parts: List[str], match: str, data: bytes, key: str) -> Any:
    body = json.loads(data) if data else {}
    if (method, parts) == ("GET", ["app"]):
        grant = {"serial": list(fake.serial), "gpio": fake.gpio, "publish": list(fake.publish), "read": list(fake.read)}
        return {"app": "app", "service": "service", "generation": 1, "version": "test", "settings": fake.settings,
                "grant": grant}  # fmt: skip
    if (method, parts) == ("GET", ["system"]):
        return {"time": {"unix_ns": time.time_ns(), "synchronised": True}, "board": "fake gateway"}
    if method == "POST" and len(parts) == 3 and parts[0] == "serial" and parts[2] == "transact":
        return {"data": fake.transact(parts[1], bytes.fromhex(body["data"])).hex(), "elapsed_ms": 0.1}
    if parts == ["tags"] and method == "GET":
        with fake.lock:
            found = sorted(fake.latest)
        return [fake.latest[tag] for tag in found if matches(match, tag) and fake.may_read(tag)]
    if parts == ["tags"] and method == "POST":
        durable = bool(body.get("durable", False))
        fake.take(body["samples"], durable, key)
        return {"accepted": len(body["samples"]), "durable": durable}
    if len(parts) == 2 and parts[0] == "gpio" and method in ("GET", "PUT"):
        return _line(fake, parts[1], body.get("value") if method == "PUT" else None)
    raise Refused("not_found", "cannot {} /v1/{}: the eSDK has no such call".format(method, "/".join(parts)))


def _line(fake: FakeGateway, line: str, value: Optional[int]) -> Dict[str, Any]:
    granted = fake.gpio.get(line)
    if granted is None or (value is not None and granted != "write"):
        verb, key = ("read", "read") if value is None else ("set", "write")
        raise _refuse("{} line {}".format(verb, line), "gpio.{}: {}".format(line, key))
    if value is not None:
        if value not in (0, 1):
            raise Refused("invalid_input", "cannot set line {} to {}: it must be 0 or 1".format(line, value))
        fake.lines[line] = value
    return {"line": line, "value": fake.lines[line], "decided_by": "app", "since_ns": 0, "available": True}


def matches(pattern: str, tag: str) -> bool:
    """`+` stands for one level, a last `#` for any number."""
    wanted, levels = pattern.split("/"), tag.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)


def _refuse(what: str, key: str) -> Refused:
    message = "cannot {}: the APP's manifest does not grant it".format(what)
    return Refused("not_permitted", message, "x-esdk.{} would allow it".format(key))


def _device(registers: Dict[int, int], unit: int) -> Answer:
    def answer(request: bytes) -> Optional[bytes]:
        if len(request) != 8 or request[0] != unit or request[1] not in (3, 4):
            return None
        address, count = struct.unpack(">HH", request[2:6])
        values = [registers.get(address + index, 0) for index in range(count)]
        body = bytes((unit, request[1], 2 * count)) + struct.pack(">{}H".format(count), *values)
        return body + struct.pack("<H", crc16(body))

    return answer
