"""One serial port, one owner: requests of all APPs are queued, sent one at a time, and answered.

Owners take turns; a slave that does not answer costs the others its timeout and no more. While the port is missing or
unplugged callers get Unavailable at once, and it is opened again with a backoff. Frames are `framing.py`'s business,
bytes `host/serialport.py`'s. Used by `serial_buses.py`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import FieldgateError, InvalidInput, TimedOut, Unavailable
from gateway.field.fair_queue import FairQueue
from gateway.field.framing import Framer, framer_for, silent_interval_s, wire_time_s
from gateway.host.serialport import SerialPortFile
from gateway.lifecycle.backoff import Backoff
from gateway.model.profile import SerialPort

log = logging.getLogger(__name__)

QUEUE_PER_OWNER: Final = 8
MAX_TIMEOUT_S: Final = 10.0
MAX_QUEUED_S: Final = 30.0
"""A request that did not get its turn by then is given up: its caller has better data to ask for."""
WRITE_TIMEOUT_S: Final = 1.0
BROADCAST_DELAY_S: Final = 0.1
"""Turnaround after a broadcast (MODBUS over Serial Line, 2.4.1)."""
MAX_GAP_WAITS: Final = 20
STEADY_S: Final = 10.0
"""A port that was open this long is tried again with the shortest delay once it has gone."""
REOPEN: Final = Backoff(first_s=0.25, cap_s=5.0)


@dataclass(frozen=True, slots=True)
class BusStatus:
    """For `fieldgate status`. Counters since the agent started."""

    port: str
    device: str
    open: bool
    fault: str = ""
    """Why it is not open."""
    waiting: int = 0
    answered: int = 0
    timed_out: int = 0
    refused: int = 0
    """Requests that found their owner's queue full."""


@dataclass(slots=True)
class _Job:
    request: bytes
    framer: Framer
    timeout_s: float
    deadline: float
    """When it must have got its turn, by the loop's clock."""
    answer: asyncio.Future[bytes]


class SerialBus:
    """A part: `run()` owns the port, `transact()` asks it."""

    def __init__(self, port: SerialPort, device: Path) -> None:
        self.port = port
        self.name = f"serial {port.name}"
        self._device = device
        self._queue: FairQueue[_Job] = FairQueue(QUEUE_PER_OWNER)
        self._work = asyncio.Event()
        self._file: SerialPortFile | None = None
        self._fault = ""
        self._gone = ""
        self._framer: Framer | None = None
        self._heard = asyncio.Event()
        self._answer: bytes | None = None
        self._quiet_since = 0.0
        self._answered = self._timed_out = 0

    async def transact(self, request: bytes, framing: str, timeout_s: float, owner: str) -> bytes:
        """Send `request` and return the answer; `timeout_s` counts from when the request has left.

        Empty after a broadcast. InvalidInput, NotSupported (framing), Unavailable (port away, queue full), TimedOut.
        """
        if not 0 < timeout_s <= MAX_TIMEOUT_S:
            raise InvalidInput(
                f"cannot wait {timeout_s:g} s for an answer: expected more than 0, up to {MAX_TIMEOUT_S:g}"
            )
        framer = framer_for(framing, request, self.port.baud)
        if self._fault:
            raise Unavailable(f"cannot use {self.port.name}: {self._fault}")
        loop = asyncio.get_running_loop()
        job = _Job(request, framer, timeout_s, loop.time() + MAX_QUEUED_S, loop.create_future())
        self._queue.put(owner, job)
        self._work.set()
        try:
            async with asyncio.timeout(MAX_QUEUED_S + timeout_s + WRITE_TIMEOUT_S + 1.0):
                return await job.answer
        except TimeoutError:
            raise TimedOut(f"cannot use {self.port.name}: nobody served the request") from None

    def status(self) -> BusStatus:
        return BusStatus(
            port=self.port.name,
            device=str(self._device),
            open=self._file is not None,
            fault=self._fault,
            waiting=len(self._queue),
            answered=self._answered,
            timed_out=self._timed_out,
            refused=self._queue.refused,
        )

    async def run(self) -> None:
        """Keep the port open and serve the queue until cancelled."""
        loop = asyncio.get_running_loop()
        failures = 0
        try:
            while True:
                started = loop.time()
                try:
                    self._open()
                    await self._serve()
                except FieldgateError as failure:
                    self._close(failure.message)
                    failures = 1 if loop.time() - started > STEADY_S else failures + 1
                await asyncio.sleep(REOPEN.delay_s(failures, random.random))
        finally:
            self._close("the agent stops")
            self._fault = ""

    def _open(self) -> None:
        port = self.port
        self._file = SerialPortFile(self._device, port.baud, port.parity, port.stop_bits, port.rs485)
        self._file.start(self._on_data, self._on_gone)
        self._quiet_since = asyncio.get_running_loop().time()
        self._fault = self._gone = ""
        log.info("serial port open port=%s device=%s", port.name, self._device)

    def _close(self, reason: str) -> None:
        """Let go of the port; whoever waits is told why."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if reason != self._fault:
            level = logging.DEBUG if self._fault else logging.WARNING
            log.log(level, "serial port closed port=%s reason=%s", self.port.name, reason)
        self._fault = reason
        for job in self._queue.drain():
            if not job.answer.done():
                job.answer.set_exception(Unavailable(f"cannot use {self.port.name}: {reason}"))

    def _on_data(self, data: bytes) -> None:
        self._quiet_since = asyncio.get_running_loop().time()
        if self._framer is None or self._answer is not None:
            return  # nobody asked: noise, or an answer that comes too late
        self._answer = self._framer.feed(data)
        if self._answer is not None or self._framer.idle_s is not None:
            self._heard.set()

    def _on_gone(self, reason: str) -> None:
        self._gone = f"cannot read {self._device}: {reason}"
        self._heard.set()
        self._work.set()

    async def _serve(self) -> None:
        """Serve the queue until the port is gone (raises)."""
        while True:
            while len(self._queue) and not self._gone:
                await self._serve_one(self._queue.take())
            if self._gone:
                raise Unavailable(self._gone)
            self._work.clear()
            await self._work.wait()

    async def _serve_one(self, job: _Job) -> None:
        """Send, wait, answer. A caller that has gone does not cut its transaction short: the slave answers anyway."""
        if job.answer.done():
            return
        try:
            if asyncio.get_running_loop().time() > job.deadline:
                raise TimedOut(f"cannot use {self.port.name}: no turn within {MAX_QUEUED_S:g} s")
            answer = await self._exchange(job)
        except BaseException as failure:
            if not job.answer.done():
                told = failure if isinstance(failure, FieldgateError) else Unavailable(
                    f"cannot use {self.port.name}: the agent stops"
                )  # fmt: skip
                job.answer.set_exception(told)
            if isinstance(failure, TimedOut):
                self._timed_out += 1
                return
            raise
        self._answered += 1
        if not job.answer.done():
            job.answer.set_result(answer)

    async def _exchange(self, job: _Job) -> bytes:
        assert self._file is not None
        await self._wait_for_gap()
        self._file.discard_input()
        self._framer, self._answer = job.framer, None
        self._heard.clear()
        try:
            await self._file.write(job.request, WRITE_TIMEOUT_S)
            on_wire_s = wire_time_s(len(job.request), self.port.baud)
            if not job.framer.expects_answer:
                await asyncio.sleep(on_wire_s + BROADCAST_DELAY_S)
                return b""
            return await self._listen(job.framer, on_wire_s + job.timeout_s, job.timeout_s)
        finally:
            self._framer = None

    async def _wait_for_gap(self) -> None:
        """Until the line has been silent for the inter-frame gap; a line that never is must not hold us up for ever."""
        loop = asyncio.get_running_loop()
        gap_s = silent_interval_s(self.port.baud)
        for _ in range(MAX_GAP_WAITS):
            left_s = self._quiet_since + gap_s - loop.time()
            if left_s <= 0:
                return
            await asyncio.sleep(left_s)

    async def _listen(self, framer: Framer, limit_s: float, told_s: float) -> bytes:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        idle_s: float | None = None
        while True:
            left_s = deadline - loop.time()
            try:
                async with asyncio.timeout(left_s if idle_s is None else min(idle_s, left_s)):
                    await self._heard.wait()
            except TimeoutError:
                answer = framer.on_idle() if idle_s is not None and idle_s <= left_s else None
                if answer is not None:
                    return answer
                raise TimedOut(
                    f"cannot get an answer on {self.port.name}: nothing complete within {told_s:g} s"
                ) from None
            self._heard.clear()
            if self._answer is not None:
                return self._answer
            if self._gone:
                raise Unavailable(self._gone)
            idle_s = framer.idle_s
