"""`python3 -m reader`: reads the meter until it is told to stop. It is process 1 of its container."""

from __future__ import annotations

import logging
import signal
import sys
from types import FrameType
from typing import Optional

from esdk import Gateway
from reader import health
from reader.loop import Loop, identity
from reader.settings import parse

log = logging.getLogger("reader")
WAIT_S = 4.0
"""For the agent, per call: the loop must not stand."""


def main() -> int:
    # The kernel ignores signals that process 1 does not handle.
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(message)s")
    with Gateway(timeout_s=WAIT_S) as gateway:
        app = identity(gateway, health.beat)
        try:
            settings = parse(app["settings"])
        except ValueError as fault:
            log.error("cannot start: settings: %s", fault)
            return 1
        log.info(
            "started version=%s generation=%s port=%s unit=%d interval_s=%g",
            app["version"], app["generation"], settings.port, settings.unit, settings.interval_s,
        )  # fmt: skip
        Loop(gateway, settings, health.beat).run()
    return 0


def _stop(number: int, _: Optional[FrameType]) -> None:
    log.info("stopped by %s", signal.Signals(number).name)
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
