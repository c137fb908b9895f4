"""The kernel's GPIO chip through libgpiod, where there is one whose wires are ours: on an arm64 board in QEMU."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from tests.site.arm64 import run_inside

# The first run fetches and unpacks the guest's system.
pytestmark = pytest.mark.timeout(300)
SUITE = "tests/conformance/test_gpiochip.py"
CASES = 15


def test_the_kernels_chip_does_what_every_chip_must() -> None:
    report = run_inside(
        f"-m pytest -q -k kernel -p no:cacheprovider --timeout=100 --junitxml=/shared/result {SUITE}", timeout_s=180
    )
    suite = next(ElementTree.fromstring(report).iter("testsuite"))
    faults = [
        f"{case.get('name')}: {fault.text}"
        for case in suite.iter("testcase")
        for fault in case
        if fault.tag in ("failure", "error", "skipped")
    ]
    assert not faults, "\n".join(faults)
    assert int(suite.attrib["tests"]) == CASES
