"""Orders that are recorded: programs run in containers, changes of what runs. First the record, then the deed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import shlex
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from gateway.engines.base import Engine
from gateway.errors import FieldgateError, InvalidInput
from gateway.model.audit import AuditEntry
from gateway.operations.audit import MAX_ARGUMENT_CHARS, Audit
from gateway.reconcile.loop import Reconciler

T = TypeVar("T")

MAX_ENGINE_OUTPUT_BYTES: Final = 64 << 10
"""What an engine keeps of a program's output."""
MAX_ARGUMENTS: Final = 256
MAX_TIMEOUT_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class By:
    """Who orders it, and as which operation."""

    who: str
    id: str = ""
    """Empty: one is made up."""


class Execution:
    def __init__(self, engine: Engine, reconciler: Reconciler, audit: Audit, boot_id: str) -> None:
        self._engine = engine
        self._reconciler = reconciler
        self.audit = audit
        self._boot_id = boot_id

    async def execute(
        self, app: str, service: str, argv: Sequence[str], timeout_s: float, max_output_bytes: int, by: By
    ) -> dict[str, Any]:
        """`{"exit_code", "output" (base64), "output_bytes", "output_digest", "truncated"}`.

        TimedOut: it was killed inside. NotFound, InvalidInput.
        """
        check_argv(argv)
        if not 0 < timeout_s <= MAX_TIMEOUT_S:
            raise InvalidInput(f"cannot run it for {timeout_s:g} s: at most {MAX_TIMEOUT_S:g} s")
        container = self._reconciler.container_of(app, service)
        entry = self.entry(by, "exec", app, service, shlex.join(argv))

        async def run() -> dict[str, Any]:
            result = await self._engine.exec(container, argv, timeout_s)
            limit = min(max_output_bytes, MAX_ENGINE_OUTPUT_BYTES)
            output = result.output[:limit]
            return {
                "exit_code": result.exit_code,
                "output": base64.b64encode(output).decode(),
                "output_bytes": len(output),
                "output_digest": "sha256:" + hashlib.sha256(output).hexdigest(),
                "truncated": len(result.output) > limit or len(result.output) >= MAX_ENGINE_OUTPUT_BYTES,
            }

        return await self.recorded(entry, run, _of_exec)

    async def recorded(
        self, entry: AuditEntry, do: Callable[[], Awaitable[T]], note: Callable[[AuditEntry, T], AuditEntry]
    ) -> T:
        """`do()`, with a record of its beginning and its end; `note` adds to the entry what came of it."""
        await asyncio.to_thread(self.audit.write, entry)
        try:
            result = await do()
        except FieldgateError as failure:
            await asyncio.to_thread(self.audit.write, _ended(entry, failure.message))
            raise
        except BaseException:
            await asyncio.shield(asyncio.to_thread(self.audit.write, _ended(entry, "cut short")))
            raise
        await asyncio.to_thread(self.audit.write, note(_ended(entry, "done"), result))
        return result

    async def note_end(self, entry: AuditEntry, outcome: str = "done") -> None:
        """Record the end of what was begun with `audit.write`."""
        await asyncio.to_thread(self.audit.write, _ended(entry, outcome))

    def entry(self, by: By, op: str, app: str, service: str = "", arguments: str = "") -> AuditEntry:
        return AuditEntry(
            by.id or secrets.token_hex(16), by.who, op, app, service, arguments[:MAX_ARGUMENT_CHARS],
            self._boot_id, time.time_ns(),
        )  # fmt: skip


def check_argv(argv: Sequence[str]) -> None:
    """InvalidInput."""
    if not argv or not argv[0] or len(argv) > MAX_ARGUMENTS or any("\0" in argument for argument in argv):
        raise InvalidInput(f"cannot run it: it must be a program and up to {MAX_ARGUMENTS - 1} arguments, without NUL")


def nothing_more(entry: AuditEntry, _: object) -> AuditEntry:
    """For `recorded`: that it was done is all."""
    return entry


def _of_exec(entry: AuditEntry, result: dict[str, Any]) -> AuditEntry:
    figures = {name: result[name] for name in ("exit_code", "output_bytes", "output_digest")}
    return replace(entry, **figures)


def _ended(entry: AuditEntry, outcome: str) -> AuditEntry:
    return replace(entry, ended_ns=time.time_ns(), outcome=outcome[:MAX_ARGUMENT_CHARS])
