"""The engines on pure cgroup v2, whatever this machine has: in User-mode Linux."""

from __future__ import annotations

import json

import pytest

from tests.site.suite import run_suite
from tests.site.uml import RESULT, run_inside
from tests.system.engine_smoke import MEMORY_BYTES, PIDS

FILES = " ".join(f"tests/conformance/test_{name}.py" for name in ("engine", "hosted", "oci_seccomp", "terminal"))
"""Not there: networks, for which User-mode Linux has no nftables of family `inet`, and daemons of other engines."""
LONGEST_S = 240.0
"""On a machine that does other things as well; an idle one takes less than a minute."""


def test_the_engines_on_pure_cgroup_v2() -> None:
    engines = json.loads(run_inside(f"-m tests.system.engine_smoke {RESULT}", timeout_s=60))
    for name, seen in engines.items():
        assert "failed" not in seen, f"{name}: {seen['failed']}"
        assert (seen["mode"], seen["state"]) == ("v2", "running"), name
        assert seen["group"].startswith("/sys/fs/cgroup/fieldgate")
        assert (seen["memory.max"], seen["pids.max"], seen["memory.oom.group"]) == (str(MEMORY_BYTES), str(PIDS), "1")
        assert seen["options"] == ["nsdelegate", "favordynmods", "memory_recursiveprot"], "as it was, and faster"
        assert seen["stats"] == [True, True, MEMORY_BYTES, 2, 0]
        assert seen["counts_io"]
        assert seen["exec"] == [7, "inside\n"]
        assert seen["stop"] == ["exited", 3, False]
        assert seen["oom"] == [137, True]
        assert seen["group_is_gone"]
        assert seen["left"] == []


@pytest.mark.timeout(LONGEST_S + 60)
def test_what_every_engine_must_do_on_pure_cgroup_v2() -> None:
    faults = run_suite(run_inside, f"-k crun {FILES}", RESULT, LONGEST_S)
    assert not faults, "\n".join(faults)
