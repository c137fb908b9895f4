"""The broker of a test site: Debian's Mosquitto on a free port of the loopback, TLS and client certificates only.

Configured as a real one must be (docs/mqtt-topics.md): who a client is, its certificate says, and by the ACL a gateway
touches only its own topics. It keeps nothing on disk: `kill()` loses its sessions and retained messages.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from gateway.documents.certificates import Credentials, issue_client, issue_server
from tests.site.processes import Daemon, accepts_tcp, free_port

HOST: Final = "127.0.0.1"
CLOUD: Final = "fieldgate-cloud"
"""Common name of the cloud's certificate."""
INTRUDER: Final = "site-intruder"
"""Somebody who has all rights at this broker, but no signing key: what he sends must not count."""

_CONFIG: Final = """\
listener {port} {host}
cafile {directory}/ca.crt
certfile {directory}/broker.crt
keyfile {directory}/broker.key
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file {directory}/acl
persistence false
max_packet_size 1048576
max_queued_messages 10000
log_dest stderr
log_type error
log_type warning
log_type notice
connection_messages true
"""

_ACL: Final = f"""\
user {CLOUD}
topic readwrite fieldgate/v1/#

user {INTRUDER}
topic readwrite fieldgate/v1/#

pattern read fieldgate/v1/%u/desired/+
pattern read fieldgate/v1/%u/ack
pattern read fieldgate/v1/%u/keys
pattern write fieldgate/v1/%u/status
pattern write fieldgate/v1/%u/reported/+
pattern write fieldgate/v1/%u/progress
pattern write fieldgate/v1/%u/data/+
pattern read fieldgate/v1/%u/request/+
pattern write fieldgate/v1/%u/response/+
"""


@dataclass(frozen=True, slots=True)
class Login:
    """Files by which one client logs in."""

    name: str
    ca: Path
    certificate: Path
    key: Path


class Broker:
    """`mosquitto`; it keeps its port over `stop()`, `kill()` and `start()`."""

    def __init__(self, directory: Path, authority: Credentials) -> None:
        self.port = free_port()
        self.authority = authority
        self.directory = directory / "broker"
        self.directory.mkdir(parents=True, exist_ok=True)
        server = issue_server(authority, [HOST, "localhost"])
        for name, content in (
            ("ca.crt", authority.certificate),
            ("broker.crt", server.certificate),
            ("broker.key", server.key),
            ("acl", _ACL.encode()),
        ):
            _write_private(self.directory / name, content)
        config = self.directory / "mosquitto.conf"
        # Started as root it would become the user mosquitto, who can read nothing here.
        user = "user root\n" if os.geteuid() == 0 else ""
        config.write_text(user + _CONFIG.format(port=self.port, host=HOST, directory=self.directory))
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "mosquitto"
        self._daemon = Daemon([program, "-c", str(config)], self.directory / "broker.log")

    @property
    def address(self) -> str:
        """`HOST:PORT`, as `fieldgate-cloud serve --broker` takes it."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        return self._daemon.pid

    def start(self) -> None:
        """Returns when it accepts connections."""
        self._daemon.start(lambda: accepts_tcp(self.port))

    def stop(self) -> None:
        self._daemon.stop()

    def kill(self) -> None:
        """SIGKILL: sessions and retained messages are lost."""
        self._daemon.kill()

    def tail(self, lines: int = 15) -> str:
        return self._daemon.tail(lines)

    def login(self, name: str) -> Login:
        """A certificate for the client `name` (a gateway's id, CLOUD or INTRUDER), issued at its first use."""
        directory = self.directory / "clients" / name
        login = Login(name, self.directory / "ca.crt", directory / "client.crt", directory / "client.key")
        if not login.key.exists():
            issued = issue_client(self.authority, name)
            directory.mkdir(parents=True, exist_ok=True)
            _write_private(login.certificate, issued.certificate)
            _write_private(login.key, issued.key)
        return login

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _write_private(path: Path, content: bytes) -> None:
    path.touch(0o600)
    path.write_bytes(content)
