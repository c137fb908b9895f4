"""The cloud of a test site: `fieldgate-cloud serve` as a process of its own, and its commands against it.

It issues from the broker's certificate authority, so that a gateway which it enrols can log in there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from cloud.cli.client import CloudClient, path
from cloud.state import State
from gateway.errors import ToolFailed
from tests.site.broker import Broker
from tests.site.processes import Daemon, wait_until


class Cloud:
    """State below `directory`, made at once; it survives `stop()`, `kill()` and `start()`."""

    def __init__(self, directory: Path, broker: Broker, signers: Mapping[str, Path] | None = None) -> None:
        """`signers`: authority -> file with the PEM public key of somebody else who may sign, too."""
        self.state = State(directory / "cloud")
        self.broker = broker
        self.client = CloudClient(self.state)
        authority = directory / "authority.key"
        authority.touch(0o600)
        authority.write_bytes(broker.authority.key)
        others = [option for name, file in (signers or {}).items() for option in ("--signer", f"{name}={file}")]
        ca = str(broker.directory / "ca.crt")
        self.cli("keys", "init", "--ca", ca, "--ca-key", str(authority), *others)
        authority.unlink()
        self.log = directory / "cloud.log"
        self._daemon = Daemon([*self.command("serve"), "--broker", broker.address], self.log)

    def command(self, name: str) -> list[str]:
        """How `fieldgate-cloud NAME` is started for this cloud."""
        return [sys.executable, "-m", "cloud.cli.main", name, "--state", str(self.state.directory)]

    @property
    def pid(self) -> int:
        return self._daemon.pid

    def start(self) -> None:
        """Returns when it answers; not necessarily connected."""
        self._daemon.start(self._answers, timeout_s=30.0)

    def stop(self) -> None:
        self._daemon.stop(grace_s=10.0)

    def kill(self) -> None:
        """SIGKILL: what it has confirmed must be there when it is started again."""
        self._daemon.kill()

    def tail(self, lines: int = 25) -> str:
        return self._daemon.tail(lines)

    # Its commands; each returns what it printed as JSON

    def cli(self, name: str, *arguments: str, timeout_s: float = 60.0) -> Any:
        """Run `fieldgate-cloud NAME ARGUMENTS --json`; ToolFailed when it exits non-zero."""
        status, printed, said = self.attempt(name, *arguments, timeout_s=timeout_s)
        if status != 0:
            raise ToolFailed(["fieldgate-cloud", name, *arguments], status, said or json.dumps(printed))
        return printed

    def attempt(self, name: str, *arguments: str, timeout_s: float = 60.0) -> tuple[int, Any, str]:
        """The same for commands that may fail: exit status, what it printed (None: nothing), its stderr."""
        argv = [*self.command(name), *arguments, "--json"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)
        printed = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else None
        return done.returncode, printed, done.stderr

    def enroll(self, gateway: str, out: Path, *options: str) -> None:
        """Write enrolment.json, gateway.key, gateway.crt and ca.crt into `out`, the gateway's `identity/`."""
        self.cli("enroll", gateway, "--out", str(out), *options)

    def deploy(
        self, gateway: str, file: Path, *, wait_s: float = 0.0, plain_http: str = ""
    ) -> tuple[int, dict[str, Any], str]:
        """`deploy --wait` with that timeout, or without waiting: exit status, its JSON, its stderr (why it refused)."""
        options = ["--wait", "--timeout", str(wait_s)] if wait_s else []
        options += ["--plain-http", plain_http] if plain_http else []
        arguments = ("--gateway", gateway, str(file), *options)
        status, printed, said = self.attempt("deploy", *arguments, timeout_s=wait_s + 60.0)
        return status, printed or {}, said

    def undeploy(self, gateway: str, app: str, *, wait_s: float = 0.0) -> tuple[int, dict[str, Any], str]:
        options = ["--wait", "--timeout", str(wait_s)] if wait_s else []
        status, printed, said = self.attempt("undeploy", app, "--gateway", gateway, *options, timeout_s=wait_s + 60.0)
        return status, printed or {}, said

    # What it knows, asked through its socket: quicker than a command, for polling

    def status(self) -> dict[str, Any]:
        """`connected`, `counts` (batches, stored, duplicates, dropped), `session`."""
        return dict(self.client.call("GET", "/v1/status"))

    def gateway(self, gateway: str) -> dict[str, Any]:
        """`status` (None: not heard of yet) and `reports`."""
        return dict(self.client.call("GET", path("gateways", gateway)))

    def tags(self, gateway: str) -> dict[str, dict[str, Any]]:
        """Tag -> its latest `value`, `unit`, `quality`, `time_ns`, `kind`."""
        return {tag["tag"]: tag for tag in self.client.call("GET", path("gateways", gateway, "tags"))}

    def streams(self, gateway: str) -> list[dict[str, Any]]:
        """Per incarnation, stream and epoch: `records`, `first`, `last`, `missing` (between first and last)."""
        return list(self.client.call("GET", path("gateways", gateway, "streams")))

    def samples(self, gateway: str, tag: str = "") -> list[dict[str, Any]]:
        """All records in the order in which they arrived: `stream`, `epoch`, `seq`, `kind`, `record`, ..."""
        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["n"] if found else 0
            target = f"{path('gateways', gateway, 'samples')}?after={after}&tag={tag}"
            page = self.client.call("GET", target)
            if not page:
                return found
            found += page

    def wait_connected(self, timeout_s: float = 20.0) -> float:
        """Seconds until its session with the broker stands."""
        return wait_until(lambda: bool(self.status()["connected"]), "the cloud connected", timeout_s)

    def _answers(self) -> bool:
        try:
            return bool(self.status())
        except Exception:
            return False

    def __enter__(self) -> Cloud:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
