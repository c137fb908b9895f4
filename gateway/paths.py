"""Where everything lies: one object for the two trees that the agent owns.

`state` survives a reboot (flash; every file fsynced and renamed), `run` does not (tmpfs). Directories are made by
`prepare()`, all of them root-only except what containers mount.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    state: Path = Path("/var/lib/fieldgate")
    run: Path = Path("/run/fieldgate")

    @classmethod
    def from_environment(cls) -> Paths:
        """FIELDGATE_STATE and FIELDGATE_RUN, or the defaults."""
        default = cls()
        return cls(
            Path(os.environ.get("FIELDGATE_STATE", default.state)).absolute(),
            Path(os.environ.get("FIELDGATE_RUN", default.run)).absolute(),
        )

    @property
    def identity(self) -> Path:
        """Enrolment: `enrolment.json`, `gateway.key`, `gateway.crt`, `ca.crt`."""
        return self.state / "identity"

    @property
    def trust(self) -> Path:
        """Key documents and revision floors."""
        return self.state / "trust"

    @property
    def desired(self) -> Path:
        return self.state / "desired"

    @property
    def apps(self) -> Path:
        """One record per APP: last good version, operator's stop, generation counter."""
        return self.state / "apps"

    @property
    def images(self) -> Path:
        return self.state / "images"

    @property
    def volumes(self) -> Path:
        return self.state / "volumes"

    @property
    def outbox(self) -> Path:
        return self.state / "outbox.sqlite"

    @property
    def audit(self) -> Path:
        """What was ordered here, by whom (`operations/audit.py`)."""
        return self.state / "audit.jsonl"

    @property
    def engine(self) -> Path:
        """Bundles, pid files, logs and exit files of the containers."""
        return self.run / "engine"

    @property
    def engine_lxc(self) -> Path:
        """The same of the containers of lxc: one of its container paths."""
        return self.run / "lxc"

    @property
    def engine_cache(self) -> Path:
        """What the engine has worked out for this kernel and may work out again: nothing is lost with it."""
        return self.state / "cache"

    @property
    def network(self) -> Path:
        """What the APPs' networks are, their namespaces and hosts files."""
        return self.run / "network"

    @property
    def addresses(self) -> Path:
        """Which service has which address."""
        return self.state / "addresses.json"

    @property
    def endpoints(self) -> Path:
        """One directory per container, mounted at /run/esdk inside it."""
        return self.run / "endpoints"

    @property
    def admin_socket(self) -> Path:
        return self.run / "admin.sock"

    @property
    def lock(self) -> Path:
        """Held by the one agent that may use these trees."""
        return self.run / "agent.lock"

    def below_run(self, path: str) -> Path:
        """A profile's path: as it is when absolute, otherwise below the run directory."""
        return self.run / path

    def prepare(self) -> None:
        """Make both trees."""
        for directory in (self.state, self.run):
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        for directory in (
            self.identity, self.trust, self.desired, self.apps, self.images, self.volumes, self.engine, self.endpoints,
        ):  # fmt: skip
            directory.mkdir(mode=0o700, exist_ok=True)
