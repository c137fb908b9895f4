"""Keys, gateways, their desired state and what they report: rows in, values out.

Blocking: runs in the database's thread. Callers open the transaction (`Database.transaction`) around what belongs
together. Decides nothing: `authority.py`, `desired.py` and `ingest.py` do.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from cloud.database import Database
from gateway.documents.envelope import PrivateKey
from gateway.errors import NotFound
from gateway.model.reports import AppReport, GatewayStatus
from gateway.model.wire import canonical, from_wire, to_wire


@dataclass(frozen=True, slots=True)
class GatewayRow:
    """An enrolled gateway."""

    gateway: str
    incarnation: str
    confirmation_key: str
    """A secret: stays out of logs and answers."""
    enrolled_ns: int
    status: GatewayStatus | None
    status_ns: int


@dataclass(frozen=True, slots=True)
class DesiredRow:
    """What the cloud wants to run on a gateway, as it was signed."""

    gateway: str
    revision: int
    apps: dict[str, dict[str, Any]]
    """Name -> Compose document."""
    envelope: bytes


class Store:
    def __init__(self, database: Database) -> None:
        self._database = database

    # Gateways

    def put_gateway(self, gateway: str, incarnation: str, confirmation_key: str) -> None:
        """Enrol it, or enrol it anew: what it was and said before is forgotten, its samples stay."""
        with self._database.transaction() as rows:
            rows.execute(
                "INSERT INTO gateways (gateway, incarnation, confirmation_key, enrolled_ns) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (gateway) DO UPDATE SET incarnation = excluded.incarnation,"
                " confirmation_key = excluded.confirmation_key, enrolled_ns = excluded.enrolled_ns,"
                " status = NULL, status_ns = NULL",
                (gateway, incarnation, confirmation_key, time.time_ns()),
            )
            rows.execute("DELETE FROM reports WHERE gateway = ?", (gateway,))

    def gateway(self, gateway: str) -> GatewayRow:
        """NotFound if it is not enrolled."""
        for row in self.gateways("WHERE gateway = ?", gateway):
            return row
        raise NotFound(f"cannot find gateway {gateway[:80]!a}: it is not enrolled")

    def gateways(self, where: str = "ORDER BY gateway", *parameters: object) -> list[GatewayRow]:
        columns = "gateway, incarnation, confirmation_key, enrolled_ns, status, status_ns"
        found = self._database.execute(f"SELECT {columns} FROM gateways {where}", *parameters)
        return [
            GatewayRow(name, incarnation, key, enrolled_ns, _status(status), status_ns or 0)
            for name, incarnation, key, enrolled_ns, status, status_ns in found
        ]

    def put_status(self, gateway: str, status: GatewayStatus) -> None:
        """Within the caller's transaction."""
        self._database.execute(
            "UPDATE gateways SET status = ?, status_ns = ? WHERE gateway = ?", _text(status), time.time_ns(), gateway
        )

    # Reports

    def put_report(self, gateway: str, report: AppReport) -> None:
        """Within the caller's transaction."""
        self._database.execute(
            "INSERT OR REPLACE INTO reports VALUES (?, ?, ?, ?)", gateway, report.app, _text(report), time.time_ns()
        )

    def remove_report(self, gateway: str, app: str) -> bool:
        """Within the caller's transaction; False if there was none."""
        return self._database.execute("DELETE FROM reports WHERE gateway = ? AND app = ?", gateway, app).rowcount > 0

    def reports(self, gateway: str) -> list[AppReport]:
        found = self._database.execute("SELECT report FROM reports WHERE gateway = ? ORDER BY app", gateway)
        return [from_wire(AppReport, json.loads(row[0])) for row in found]

    # Desired

    def put_desired(self, row: DesiredRow) -> None:
        with self._database.transaction() as rows:
            rows.execute(
                "INSERT OR REPLACE INTO desired VALUES (?, ?, ?, ?, ?)",
                (row.gateway, row.revision, canonical(row.apps).decode(), row.envelope, time.time_ns()),
            )

    def desired(self, gateway: str) -> DesiredRow | None:
        for row in self.all_desired("WHERE gateway = ?", gateway):
            return row
        return None

    def all_desired(self, where: str = "ORDER BY gateway", *parameters: object) -> list[DesiredRow]:
        found = self._database.execute(f"SELECT gateway, revision, apps, envelope FROM desired {where}", *parameters)
        return [DesiredRow(row[0], row[1], json.loads(row[2]), row[3]) for row in found]

    # Keys

    def put_keys(self, version: int, envelope: bytes, signer: PrivateKey) -> None:
        """A keys document and the one signer of ours that it names; signers before it are retired."""
        with self._database.transaction() as rows:
            rows.execute("INSERT INTO keys_documents VALUES (?, ?)", (version, envelope))
            rows.execute("UPDATE signers SET retired = 1")
            rows.execute(
                "INSERT INTO signers (id, pem, created_ns) VALUES (?, ?, ?)",
                (signer.id, signer.to_pem(), time.time_ns()),
            )

    def keys_documents(self) -> list[bytes]:
        """Envelopes, oldest first."""
        return [row[0] for row in self._database.execute("SELECT envelope FROM keys_documents ORDER BY version")]

    def signer(self) -> PrivateKey:
        """The key in use. NotFound before `keys init`."""
        row = self._database.execute("SELECT pem FROM signers WHERE retired = 0").fetchone()
        if row is None:
            raise NotFound("cannot sign: there is no key", hint="make one with `fieldgate-cloud keys init`")
        return PrivateKey.from_pem(row[0])


def _status(text: str | None) -> GatewayStatus | None:
    return from_wire(GatewayStatus, json.loads(text)) if text else None


def _text(value: object) -> str:
    return canonical(to_wire(value)).decode()
