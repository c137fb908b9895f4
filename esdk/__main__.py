"""A fake gateway as a process, for an APP in a container on a laptop: `python3 -m esdk DIRECTORY [GRANTS]`.

Its socket is DIRECTORY/esdk.sock: mount DIRECTORY at /run/esdk, as a gateway does. Prints every sample that the APP
publishes; ends with Ctrl-C. What it fakes: `esdk.testing`.

    python3 -m esdk /tmp/esdk --serial RS485-1 --register RS485-1:1:12=0x447a --publish 'meter/#' --setting unit=1
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from typing import Dict, List, Optional, Tuple

from esdk.testing import FakeGateway

POLL_S = 0.2


def main(arguments: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m esdk", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", help="where esdk.sock is made; mount it at /run/esdk")
    parser.add_argument("--serial", action="append", default=[], metavar="PORT", help="it may transact there")
    parser.add_argument("--gpio", action="append", default=[], type=_pair, metavar="LINE=read|write")
    parser.add_argument("--publish", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--read", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--setting", action="append", default=[], type=_pair, metavar="KEY=VALUE")
    parser.add_argument(
        "--register", action="append", default=[], type=_register, metavar="PORT:UNIT:ADDRESS=VALUE",
        help="a 16-bit register of a Modbus device behind a port; one device a port",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    os.makedirs(options.directory, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    fake = FakeGateway(
        options.serial, dict(options.gpio), options.publish, options.read, dict(options.setting), options.directory
    )
    shown = 0
    units: Dict[str, int] = {}
    registers: Dict[str, Dict[int, int]] = {}
    for port, unit, address, value in options.register:
        units[port] = unit
        registers.setdefault(port, {})[address] = value
    try:
        with fake:
            for port, held in registers.items():
                fake.answer(port, registers=held, unit=units[port])
            print("a fake gateway listens on {}".format(fake.path), flush=True)
            while True:
                shown = _show(fake, shown)
                time.sleep(POLL_S)
    except KeyboardInterrupt:
        _show(fake, shown)
        return 0


def _show(fake: FakeGateway, shown: int) -> int:
    """Print what is new; how many batches have been printed now."""
    with fake.lock:
        batches = fake.published[shown:]
    for samples, durable, _ in batches:
        for sample in samples:
            unit, quality = sample.get("unit", ""), sample.get("quality", "good")
            how = " durable" if durable else ""
            print("{} {!r} {} {}{}".format(sample["tag"], sample["value"], unit, quality, how), flush=True)
    return shown + len(batches)


def _pair(text: str) -> Tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError("must be KEY=VALUE: {!r}".format(text))
    return key, value


def _register(text: str) -> Tuple[str, int, int, int]:
    where, _, value = text.partition("=")
    port, unit, address = [*where.rsplit(":", 2), "", ""][:3]
    try:
        found = port, int(unit), int(address, 0), int(value, 0)
    except ValueError:
        raise argparse.ArgumentTypeError("must be PORT:UNIT:ADDRESS=VALUE: {!r}".format(text)) from None
    if not 0 <= found[3] <= 0xFFFF:
        raise argparse.ArgumentTypeError("a register has 16 bits: {!r}".format(text))
    return found


if __name__ == "__main__":
    sys.exit(main())
