"""What every engine and every GPIO chip must do, on an arm64 board in QEMU: its short form, one boot for all of it.

The chip is the kernel's, through libgpiod, with wires that are ours.
"""

from __future__ import annotations

import pytest

from tests.site.arm64 import RESULT, run_inside
from tests.site.suite import run_suite

LONGEST_S = 600.0
SUITE = (
    "-k '(test_gpiochip and kernel) or (short_form and crun)' tests/conformance/test_gpiochip.py"
    " tests/conformance/test_engine.py"
)
CASES = 15 + 7
"""Of the chip, which this machine does not have, and of the engine."""


# The first run fetches and unpacks the guest's system.
@pytest.mark.timeout(LONGEST_S + 240)
def test_engine_and_chip_on_arm64() -> None:
    faults = run_suite(run_inside, SUITE, RESULT, LONGEST_S, CASES)
    assert not faults, "\n".join(faults)
