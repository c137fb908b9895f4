"""The reader's loop: a steady schedule; read, publish, say how it goes. Never ends because meter or agent are away.

What the agent cannot take waits in esdk's ring, with the time at which it was measured.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Callable, Dict, List, Optional

from esdk import EsdkError, Gateway, Unavailable
from reader.meter import Live, Meter
from reader.settings import Settings

log = logging.getLogger("reader")


class Loop:
    """`beat(published_at, trouble)` is told after every turn."""

    def __init__(self, gateway: Gateway, settings: Settings, beat: Callable[[float, str], None]) -> None:
        self._gateway = gateway
        self._settings = settings
        self._beat = beat
        self._meter = Meter(gateway.serial(settings.port), settings.unit, settings.timeout_s)
        self._last: Optional[Live] = None
        self._energy_due = 0.0
        self._trouble: Dict[str, str] = {}
        self._published_at = 0.0

    def run(self) -> None:
        """Until SystemExit: turns at start, start + interval, ... without drift; missed ones are left out."""
        interval, due = self._settings.interval_s, time.monotonic()
        while True:
            self.turn()
            now = time.monotonic()
            due += interval * max(1, int((now - due) / interval) + 1)
            time.sleep(max(0.0, due - now))

    def turn(self) -> None:
        """One reading, published."""
        samples = self._read()
        self._publish(samples, durable=False)
        if self._last is not None and not self._trouble.get("meter") and time.monotonic() >= self._energy_due:
            self._turn_energy()
        self._beat(self._published_at, "; ".join(self._trouble.values()))

    def _read(self) -> List[Dict[str, Any]]:
        """Three samples; of quality bad, with the last values, when the meter did not answer."""
        now, quality = time.time_ns(), "good"
        try:
            self._last = self._meter.live()
            self._tell("meter", "")
        except EsdkError as failure:
            self._tell("meter", failure.message)
            quality = "bad"
        live = self._last or Live(0.0, 0.0, 0.0)
        return [
            {"tag": tag, "value": value, "unit": unit, "quality": quality, "time_ns": now}
            for tag, value, unit in (
                ("meter/voltage", live.voltage, "V"),
                ("meter/current", live.current, "A"),
                ("meter/power", live.power, "W"),
            )
        ]

    def _turn_energy(self) -> None:
        """The count is for bills: only real values, and the gateway must have committed each."""
        try:
            sample = {"tag": "meter/energy", "value": self._meter.energy(), "unit": "kWh"}
        except EsdkError as failure:
            self._tell("meter", failure.message)
            return
        self._energy_due = time.monotonic() + self._settings.energy_interval_s - self._settings.interval_s / 2
        self._publish([sample], durable=True)

    def _publish(self, samples: List[Dict[str, Any]], durable: bool) -> None:
        try:
            if self._gateway.tags.publish(samples, durable=durable):
                self._published_at = time.monotonic()
                self._tell("gateway", "")
            else:
                self._tell("gateway", "the gateway takes no samples now; they wait here")
        except EsdkError as failure:
            self._tell("gateway", str(failure).replace("\n", " "))

    def _tell(self, whom: str, trouble: str) -> None:
        """One line when it begins, changes or ends, not one a second."""
        before = self._trouble.get(whom, "")
        if trouble and trouble != before:
            log.warning("%s: %s", whom, trouble)
        if before and not trouble:
            log.info(
                "%s: well again, %d samples wait, %d lost", whom, self._gateway.tags.waiting, self._gateway.tags.dropped
            )
        self._trouble.pop(whom, None)
        if trouble:
            self._trouble[whom] = trouble


def identity(gateway: Gateway, beat: Callable[[float, str], None]) -> Dict[str, Any]:
    """Who am I and my settings, as soon as the gateway says so."""
    told = ""
    while True:
        try:
            return gateway.app()
        except Unavailable as failure:
            if failure.message != told:
                log.warning("gateway: %s", failure.message)
            told = failure.message
            beat(0.0, told)
            time.sleep(1.0)
