"""GPIO chips: the protocol that the field needs of one, and the real one of the kernel (libgpiod v2).

Values are logical (1 is active) whatever the polarity of the wire. What a line does after its last user has gone is the
driver's business; nearly all keep the level. Does not decide anything and knows no line names: see `field/lines.py`.
`gpiod` is imported when the first real chip is opened, here and nowhere else.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any, Final, Protocol

from gateway.errors import Conflict, FieldgateError, InvalidInput, NotFound, NotSupported, Unavailable
from gateway.host.simulated_gpiochip import SimulatedGpioChip

CONSUMER: Final = "fieldgate"
SIMULATED: Final = "simulated:"


class GpioChip(Protocol):
    """Lines of one chip by offset. Every call is short and synchronous.

    Errors: NotFound (no such offset), Conflict (somebody else uses the line), InvalidInput (wrong direction or value),
    Unavailable (the chip is gone; open it again).
    """

    def request_output(self, offset: int, value: int, *, keep: bool, active_low: bool) -> int:
        """Take the line as an output and return its value.

        With `keep`, a line that is an output already keeps its level without a glitch, and `value` is for one that is
        not (a fresh boot); without, the line gets `value`.
        """
        ...

    def request_input(self, offset: int, *, active_low: bool) -> int:
        """Take the line as an input and return its value."""
        ...

    def get(self, offset: int) -> int:
        """The value now of a line that was requested."""
        ...

    def set(self, offset: int, value: int) -> None:
        """Drive an output that was requested; it is driven when this returns."""
        ...

    def close(self) -> None:
        """Give back all lines; the levels of outputs stay."""
        ...


def open_chip(spec: str, run: Path) -> GpioChip:
    """The chip of a profile: `/dev/gpiochipN`, or `simulated:<socket>` (below `run` unless absolute).

    Unavailable: it is not there or not ours to open; NotSupported: Python has no libgpiod here.
    """
    if spec.startswith(SIMULATED):
        return SimulatedGpioChip(run / spec.removeprefix(SIMULATED))
    return KernelGpioChip(spec)


class KernelGpioChip:
    """A chip of the kernel through libgpiod v2, one line request per line."""

    def __init__(self, path: str) -> None:
        try:
            import gpiod
        except ImportError as failure:
            raise NotSupported(
                f"cannot open {path}: no libgpiod for Python: {failure}", hint="install python3-libgpiod"
            ) from failure
        self._path = path
        self._gpiod = gpiod
        self._requests: dict[int, Any] = {}
        self._outputs: set[int] = set()
        try:
            self._chip = gpiod.Chip(path)
        except (OSError, ValueError) as failure:
            raise Unavailable(f"cannot open {path}: {_cause(failure)}") from failure
        try:
            self._lines = int(self._chip.get_info().num_lines)
        except OSError as failure:  # unplugged just now
            self._chip.close()
            raise Unavailable(f"cannot open {path}: {_cause(failure)}") from failure

    def request_output(self, offset: int, value: int, *, keep: bool, active_low: bool) -> int:
        line = self._gpiod.line
        _checked(value)
        if keep and self._is_output(offset):
            request = self._request(offset, self._settings(line.Direction.AS_IS, active_low, 0))
            value = self._value(request, offset)
            try:
                request.reconfigure_lines({offset: self._settings(line.Direction.OUTPUT, active_low, value)})
            except OSError as failure:
                raise self._failed("request", offset, failure) from failure
        else:
            self._request(offset, self._settings(line.Direction.OUTPUT, active_low, value))
        self._outputs.add(offset)
        return value

    def request_input(self, offset: int, *, active_low: bool) -> int:
        settings = self._settings(self._gpiod.line.Direction.INPUT, active_low, 0)
        request = self._request(offset, settings)
        self._outputs.discard(offset)
        return self._value(request, offset)

    def get(self, offset: int) -> int:
        return self._value(self._requested(offset), offset)

    def set(self, offset: int, value: int) -> None:
        request = self._requested(offset)
        if offset not in self._outputs:
            raise InvalidInput(f"cannot set line {offset} of {self._path}: it is an input")
        try:
            request.set_value(offset, self._gpiod.line.Value(_checked(value)))
        except OSError as failure:
            raise self._failed("set", offset, failure) from failure

    def close(self) -> None:
        for request in self._requests.values():
            request.release()
        self._requests.clear()
        self._outputs.clear()
        self._chip.close()

    def _settings(self, direction: Any, active_low: bool, value: int) -> Any:
        value_kind = self._gpiod.line.Value
        return self._gpiod.LineSettings(
            direction=direction, active_low=active_low, output_value=value_kind(_checked(value))
        )

    def _is_output(self, offset: int) -> bool:
        self._check(offset)
        try:
            direction = self._chip.get_line_info(offset).direction
        except OSError as failure:
            raise self._failed("inspect", offset, failure) from failure
        return bool(direction == self._gpiod.line.Direction.OUTPUT)

    def _request(self, offset: int, settings: Any) -> Any:
        """The request of this line, made anew: a line of ours is given back first."""
        self._check(offset)
        if held := self._requests.pop(offset, None):
            held.release()
        try:
            request = self._chip.request_lines({offset: settings}, consumer=CONSUMER)
        except OSError as failure:
            raise self._failed("request", offset, failure) from failure
        self._requests[offset] = request
        return request

    def _requested(self, offset: int) -> Any:
        self._check(offset)
        if offset not in self._requests:
            raise InvalidInput(f"cannot use line {offset} of {self._path}: it was not requested")
        return self._requests[offset]

    def _value(self, request: Any, offset: int) -> int:
        try:
            return int(request.get_value(offset).value)
        except OSError as failure:
            raise self._failed("read", offset, failure) from failure

    def _check(self, offset: int) -> None:
        if not 0 <= offset < self._lines:
            raise NotFound(f"cannot use line {offset} of {self._path}: it has {self._lines} lines")

    def _failed(self, verb: str, offset: int, failure: OSError) -> FieldgateError:
        kind = Conflict if failure.errno == errno.EBUSY else Unavailable
        return kind(f"cannot {verb} line {offset} of {self._path}: {_cause(failure)}")


def _checked(value: int) -> int:
    if value not in (0, 1):
        raise InvalidInput(f"cannot set a line to {value!r}: expected 0 or 1")
    return value


def _cause(failure: Exception) -> str:
    return (failure.strerror if isinstance(failure, OSError) else None) or str(failure)
