"""The digital lines of the board: one owner of each chip, one decision for each output (safe state > rule > APP).

**What an output does while the agent is dead.** The chip keeps its level: nothing in the kernel changes it when the
agent is killed. On the next start the profile's `on_agent_loss` chooses. `hold`: the level goes on unchanged, without a
glitch, until somebody decides: the line's rules at their first good sample (holding it, or letting go of it), or an
APP by `set`. `safe`: the safe value is written as soon as the chip is open. An agent that stays dead changes nothing in
either case; that needs a watchdog in hardware.

When the last rule lets go and no APP has a wish, the line gets its safe value. A chip that is away is opened again with
a backoff in `run()`, and the decisions of that moment are written. Everything else is synchronous: the line is driven
when `hold` returns. Single-threaded, on the agent's loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import Conflict, FieldgateError, InvalidInput, NotFound, Unavailable
from gateway.field.line_decision import DecidedBy, LineDecision
from gateway.host.gpiochip import GpioChip, open_chip
from gateway.lifecycle.backoff import Backoff
from gateway.model.profile import GpioLine, OnAgentLoss

log = logging.getLogger(__name__)

REOPEN: Final = Backoff(first_s=0.25, cap_s=5.0)
CHECK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class LineState:
    """A line now; `decided_by` means nothing for an input."""

    line: str
    value: int
    """The last one known while the chip is away."""
    decided_by: DecidedBy
    since_ns: int
    """Unix time of the last change of value or decider that the agent made or saw."""
    available: bool


class _Line:
    def __init__(self, line: GpioLine) -> None:
        self.line = line
        self.decision = LineDecision(line.safe_value, line.on_agent_loss is OnAgentLoss.HOLD)
        self.value = line.safe_value if line.output else 0
        self.decided_by: DecidedBy = "safe"
        self.since_ns = time.time_ns()
        self.chip: GpioChip | None = None
        self.fault = "not opened yet"

    def take(self, chip: GpioChip) -> None:
        """Request the line and write what is decided now."""
        line = self.line
        if not line.output:
            value = chip.request_input(line.offset, active_low=line.active_low)
        else:
            wanted, _ = self.decision.now()
            keep = wanted is None
            first = line.safe_value if wanted is None else wanted
            value = chip.request_output(line.offset, first, keep=keep, active_low=line.active_low)
        self.chip, self.fault = chip, ""
        self.note(value)

    def drive(self) -> None:
        """Write what is decided now, if it is another value. Raises what the chip raises."""
        wanted, _ = self.decision.now()
        if self.chip is not None and wanted is not None and wanted != self.value:
            self.chip.set(self.line.offset, wanted)
            self.note(wanted)
        else:
            self.note(self.value)

    def note(self, value: int) -> None:
        decided_by = self.decision.now()[1]
        if (value, decided_by) != (self.value, self.decided_by):
            self.value, self.decided_by, self.since_ns = value, decided_by, time.time_ns()

    def away(self, reason: str) -> None:
        if self.fault != reason:
            log.warning("gpio line away line=%s reason=%s", self.line.name, reason)
        self.chip, self.fault = None, reason

    def state(self) -> LineState:
        return LineState(self.line.name, self.value, self.decided_by, self.since_ns, self.chip is not None)


class Lines:
    """A part. `open()` once before use, `close()` at the end; `run()` brings chips back that went away."""

    name = "gpio lines"

    def __init__(
        self, lines: Sequence[GpioLine], run: Path, open_chip: Callable[[str, Path], GpioChip] = open_chip
    ) -> None:
        self._lines = {line.name: _Line(line) for line in lines}
        self._run, self._open_chip = run, open_chip
        self._chips: dict[str, GpioChip] = {}
        self._lost = asyncio.Event()

    def open(self) -> None:
        """Take all lines whose chips are there; a chip that is away is `run()`'s business."""
        for spec in sorted({entry.line.chip for entry in self._lines.values() if entry.chip is None}):
            self._open(spec)

    def close(self, tear_down: bool) -> None:
        """Give the lines back. Outputs keep their level, or get the safe value with `tear_down`."""
        for entry in self._lines.values():
            if tear_down and entry.line.output and entry.chip is not None:
                entry.decision.force_safe()
                with contextlib.suppress(FieldgateError):
                    entry.drive()
        for spec in list(self._chips):
            self._let_go(spec, "closed")

    def read(self, line: str) -> LineState:
        """NotFound; Unavailable while the chip is away."""
        entry = self._entry(line)
        try:
            if entry.chip is not None:
                entry.note(entry.chip.get(entry.line.offset))
        except FieldgateError as failure:
            self._let_go(entry.line.chip, failure.message)
        if entry.chip is None:
            raise Unavailable(f"cannot read {line}: {entry.fault}")
        return entry.state()

    def set(self, line: str, value: int, owner: str) -> LineState:
        """An APP's wish. While a rule holds the line it waits until the rule lets go: see `decided_by`.

        NotFound, InvalidInput (an input, not 0 or 1), Unavailable: the chip is away; the wish is kept.
        """
        entry = self._entry(line)
        if not entry.line.output:
            raise InvalidInput(f"cannot set {line}: it is an input")
        if value not in (0, 1):
            raise InvalidInput(f"cannot set {line} to {value!r}: expected 0 or 1")
        entry.decision.wish(owner, int(value))
        self._drive(entry)
        if entry.chip is None:
            raise Unavailable(f"cannot set {line}: {entry.fault}", hint="it is set as soon as the chip is back")
        return entry.state()

    def hold(self, rule_id: str, line: str, value: int) -> None:
        """A rule wants `line` at `value`; driven when this returns, or once the chip is back. NotFound only."""
        entry = self._entry(line)
        entry.decision.hold(rule_id, value)
        self._drive(entry)

    def release(self, rule_id: str, line: str) -> None:
        """The rule no longer wants anything of `line`; fine if it never did. NotFound only."""
        entry = self._entry(line)
        if entry.decision.release(rule_id):
            self._drive(entry)

    def forget(self, owner: str) -> None:
        """The APP is gone: what it wished falls back to another's wish or the safe value."""
        for entry in self._lines.values():
            if entry.decision.forget(owner):
                self._drive(entry)

    def names(self) -> tuple[str, ...]:
        return tuple(self._lines)

    def status(self) -> list[LineState]:
        """Every line as last known; asks no chip."""
        return [entry.state() for entry in self._lines.values()]

    async def run(self) -> None:
        """Open chips that are away, until cancelled."""
        failures = 0
        while True:
            self.open()
            missing = any(entry.chip is None for entry in self._lines.values())
            failures = failures + 1 if missing else 0
            self._lost.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REOPEN.delay_s(failures, random.random) if missing else CHECK_S):
                    await self._lost.wait()
            self._check()

    def _check(self) -> None:
        """Notice a chip that went away while nobody used it."""
        for entry in self._lines.values():
            with contextlib.suppress(FieldgateError):
                self.read(entry.line.name)

    def _entry(self, line: str) -> _Line:
        entry = self._lines.get(line)
        if entry is None:
            raise NotFound(f"cannot use line {line}: this board has {', '.join(self._lines) or 'none'}")
        return entry

    def _drive(self, entry: _Line) -> None:
        try:
            entry.drive()
        except FieldgateError as failure:
            self._let_go(entry.line.chip, failure.message)

    def _open(self, spec: str) -> None:
        missing = [entry for entry in self._lines.values() if entry.line.chip == spec and entry.chip is None]
        try:
            chip = self._chips.get(spec)
            if chip is None:
                chip = self._chips[spec] = self._open_chip(spec, self._run)
            for entry in missing:
                self._take(entry, chip)
        except FieldgateError as failure:
            self._let_go(spec, failure.message)
            return
        if taken := ",".join(entry.line.name for entry in missing if entry.chip is not None):
            log.info("gpio lines open chip=%s lines=%s", spec, taken)

    def _take(self, entry: _Line, chip: GpioChip) -> None:
        """A line that somebody else uses, or that the chip does not have, leaves the chip's others alone."""
        try:
            entry.take(chip)
        except (Conflict, NotFound, InvalidInput) as failure:
            entry.away(failure.message)

    def _let_go(self, spec: str, reason: str) -> None:
        chip = self._chips.pop(spec, None)
        if chip is not None:
            with contextlib.suppress(FieldgateError, OSError):
                chip.close()
        for entry in self._lines.values():
            if entry.line.chip == spec:
                entry.away(reason)
        self._lost.set()
