"""The long form of the engine conformance suite in both guests, with both runtimes. `make nightly`; half an hour."""

from __future__ import annotations

import pytest

from tests.site import arm64, uml
from tests.site.suite import run_suite
from tests.system.test_cgroup_v2 import FILES

LONGEST_S = 3600.0
pytestmark = pytest.mark.timeout(LONGEST_S + 300)


def test_pure_cgroup_v2_with_both_runtimes() -> None:
    faults = run_suite(uml.run_inside, f"-k 'crun or runc' {FILES}", uml.RESULT, LONGEST_S)
    assert not faults, "\n".join(faults)


def test_arm64() -> None:
    faults = run_suite(arm64.run_inside, f"-k crun {FILES}", arm64.RESULT, LONGEST_S)
    assert not faults, "\n".join(faults)
