"""The record of operations: who asked what of which gateway, and what it answered; rows in, values out.

Blocking: runs in the database's thread. Decides nothing: `operating.py` does.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final

from cloud.database import Database
from gateway.errors import NotFound
from gateway.model.operations import Answer
from gateway.model.wire import canonical, to_wire

MAX_OPERATIONS: Final = 1000
"""Per gateway; the oldest go."""


class State(StrEnum):
    ASKED = "asked"
    """No challenge of the gateway has come yet."""
    SENT = "sent"
    """Signed and on its way, perhaps done; its answer has not come."""
    ANSWERED = "answered"
    UNANSWERED = "unanswered"
    """Given up. An answer may still come, and is kept then."""


@dataclass(frozen=True, slots=True)
class OperationRow:
    id: str
    gateway: str
    incarnation: str
    op: str
    app: str
    arguments: dict[str, Any]
    asked_by: str
    asked_ns: int
    state: State
    request: str = ""
    """sha256 of the envelope that was sent."""
    result: Any = None
    error: dict[str, Any] | None = None
    answered_ns: int = 0


_NAMES: Final = tuple(field.name for field in fields(OperationRow))
_COLUMNS: Final = ", ".join(_NAMES)


class OperationStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, row: OperationRow) -> None:
        with self._database.transaction() as rows:
            rows.execute(
                f"INSERT INTO operations ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', 'null', 'null', 0)",
                (
                    row.id, row.gateway, row.incarnation, row.op, row.app, canonical(row.arguments).decode(),
                    row.asked_by, row.asked_ns, row.state,
                ),
            )  # fmt: skip
            rows.execute(
                "DELETE FROM operations WHERE gateway = ? AND id NOT IN"
                " (SELECT id FROM operations WHERE gateway = ? ORDER BY asked_ns DESC LIMIT ?)",
                (row.gateway, row.gateway, MAX_OPERATIONS),
            )

    def sent(self, identity: str, request: str) -> None:
        with self._database.transaction() as rows:
            rows.execute("UPDATE operations SET state = ?, request = ? WHERE id = ?", (State.SENT, request, identity))

    def give_up(self, identity: str, error: dict[str, Any]) -> None:
        """Unless its answer has come meanwhile."""
        with self._database.transaction() as rows:
            rows.execute(
                "UPDATE operations SET state = ?, error = ? WHERE id = ? AND state != ?",
                (State.UNANSWERED, canonical(error).decode(), identity, State.ANSWERED),
            )

    def answer(self, answer: Answer) -> OperationRow | None:
        """Within the caller's transaction: keep it. None: nobody asked that of this incarnation of the gateway."""
        return self._answer("request = ?", answer.request, answer)

    def answer_instead(self, identity: str, answer: Answer) -> None:
        """What came for its challenge is its answer: the gateway gives none."""
        with self._database.transaction():
            self._answer("id = ?", identity, answer)

    def _answer(self, which: str, key: str, answer: Answer) -> OperationRow | None:
        found = self._rows(
            f"WHERE {which} AND gateway = ? AND incarnation = ?", key, answer.gateway, answer.incarnation
        )
        if not found:
            return None
        if found[0].state is not State.ANSWERED:
            self._database.execute(
                "UPDATE operations SET state = ?, result = ?, error = ?, answered_ns = ? WHERE id = ?",
                State.ANSWERED, _text(answer.result), _text(answer.error), time.time_ns(), found[0].id,
            )  # fmt: skip
        return found[0]

    def get(self, identity: str) -> OperationRow:
        for row in self._rows("WHERE id = ?", identity):
            return row
        raise NotFound(f"cannot find operation {identity[:80]!a}")

    def of(self, gateway: str, limit: int = 100) -> list[OperationRow]:
        """Newest first."""
        return self._rows("WHERE gateway = ? ORDER BY asked_ns DESC LIMIT ?", gateway, limit)

    def _rows(self, where: str, *parameters: object) -> list[OperationRow]:
        found = self._database.execute(f"SELECT {_COLUMNS} FROM operations {where}", *parameters)
        return [_row(dict(zip(_NAMES, row, strict=True))) for row in found]


def _row(columns: dict[str, Any]) -> OperationRow:
    for name in ("arguments", "result", "error"):
        columns[name] = json.loads(columns[name])
    return OperationRow(**{**columns, "state": State(columns["state"])})


def _text(value: Any) -> str:
    return canonical(to_wire(value)).decode()
