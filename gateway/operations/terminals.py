"""Terminals that are open: `fieldgate shell`. Local only: their only door is the admin socket.

A terminal lives for as long as somebody reads its output; who stops reading has closed it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
import shlex
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from gateway.engines.base import Engine, Terminal, TerminalEngine
from gateway.errors import Conflict, FieldgateError, NotFound, NotSupported, Unavailable
from gateway.model.audit import AuditEntry
from gateway.operations.execution import By, Execution, check_argv
from gateway.reconcile.loop import Reconciler

MAX_TERMINALS: Final = 4
UNREAD_S: Final = 10.0
"""Nobody came to read: closed."""
MAX_CELLS: Final = 1000


@dataclass(slots=True)
class _Open:
    terminal: Terminal
    entry: AuditEntry
    unread: asyncio.TimerHandle
    read: bool = False


class Terminals:
    def __init__(self, engine: Engine, reconciler: Reconciler, execution: Execution) -> None:
        self._engine = engine
        self._reconciler = reconciler
        self._execution = execution
        self._open: dict[str, _Open] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def open(
        self, app: str, service: str, argv: Sequence[str], rows: int, columns: int, term: str, by: By
    ) -> str:
        """The terminal's id. NotSupported: the engine has none. Unavailable: too many are open. NotFound."""
        check_argv(argv)
        if len(self._open) >= MAX_TERMINALS:
            raise Unavailable(f"cannot open a terminal: {MAX_TERMINALS} are open")
        container = self._reconciler.container_of(app, service)
        engine = self._engine
        if not isinstance(engine, TerminalEngine):
            raise NotSupported(f"cannot open a terminal in {app}: engine {engine.name} does not offer it")
        entry = self._execution.entry(by, "shell", app, service, shlex.join(argv))
        await asyncio.to_thread(self._execution.audit.write, entry)
        try:
            terminal = await engine.open_terminal(container, argv, _cells(rows), _cells(columns), term[:32] or "xterm")
        except FieldgateError as failure:
            await self._execution.note_end(entry, failure.message)
            raise
        identity = secrets.token_hex(8)
        unread = asyncio.get_running_loop().call_later(UNREAD_S, self._give_up, identity)
        self._open[identity] = _Open(terminal, entry, unread)
        return identity

    async def output(self, identity: str) -> AsyncIterator[dict[str, Any]]:
        """`{"output": base64}` as it comes, `{"exit_code"}` at the end. Conflict: it has a reader. NotFound."""
        known = self._find(identity)
        if known.read:
            raise Conflict(f"cannot read terminal {identity}: somebody does")
        known.read = True
        known.unread.cancel()
        try:
            while data := await known.terminal.read():
                yield {"output": base64.b64encode(data).decode()}
            code = await known.terminal.wait()
            known.entry = replace(known.entry, exit_code=code)
            yield {"exit_code": code}
        finally:
            await asyncio.shield(self._close(identity))

    async def write(self, identity: str, data: bytes) -> None:
        await self._find(identity).terminal.write(data)

    def resize(self, identity: str, rows: int, columns: int) -> None:
        self._find(identity).terminal.resize(_cells(rows), _cells(columns))

    async def close(self) -> None:
        """All of them."""
        for identity in list(self._open):
            await self._close(identity)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _find(self, identity: str) -> _Open:
        if (known := self._open.get(identity)) is None:
            raise NotFound(f"cannot find terminal {identity[:40]}: it is closed")
        return known

    def _give_up(self, identity: str) -> None:
        task = asyncio.create_task(self._close(identity), name=f"terminal {identity}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, identity: str) -> None:
        if (known := self._open.pop(identity, None)) is None:
            return
        known.unread.cancel()
        await known.terminal.close()
        with contextlib.suppress(Unavailable):
            await self._execution.note_end(known.entry)


def _cells(count: int) -> int:
    return min(max(1, count), MAX_CELLS)
