"""The engine on machines that this one is not: without CAP_SYS_RESOURCE, and with pure cgroup v1.

Each runs part of the conformance suite in a process that was made so; `test_cgroup_v2.py` has the third kind.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from gateway.host import cgroup
from tests.site.gateway import ROOT

TESTS = [
    f"tests/conformance/test_engine.py::test_{name}[{runtime}]"
    for runtime in ("crun", "runc")
    for name in (
        "created_then_running_then_stopped", "out_of_memory_is_reported_as_such", "pids_are_limited",
        "exec_gives_code_and_output", "stats_tell_what_is_used", "another_engine_finds_what_runs",
    )
]  # fmt: skip
CAP_SYS_RESOURCE = 24


def run(argv: list[str], *, prefix: list[str]) -> str:
    """What it printed; it must end well."""
    done = subprocess.run([*prefix, *argv], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def conformance(prefix: list[str]) -> None:
    said = run([sys.executable, "-m", "pytest", "-q", *TESTS], prefix=prefix)
    assert f"{len(TESTS)} passed" in said, said


def test_the_engine_without_cap_sys_resource() -> None:
    prefix = ["setpriv", "--bounding-set", "-sys_resource", "--inh-caps", "-sys_resource", "--"]
    status = run(["cat", "/proc/self/status"], prefix=prefix)
    held = {line.split()[0]: int(line.split()[1], 16) for line in status.splitlines() if line.startswith("Cap")}
    assert not any(held[name] >> CAP_SYS_RESOURCE & 1 for name in ("CapPrm:", "CapEff:", "CapBnd:"))
    conformance(prefix)


def test_the_engine_on_pure_cgroup_v1() -> None:
    """A hybrid machine without its unified hierarchy is one."""
    if cgroup.mode() is cgroup.Mode.V2:
        pytest.skip("cannot run here: this machine has no cgroup v1 hierarchies")
    # The empty tmpfs shows what is made there, and keeps what others made on the one below out of sight.
    unified = "/sys/fs/cgroup/unified"
    script = f'umount {unified} 2>/dev/null || mkdir -p {unified}; mount -t tmpfs none {unified}; exec "$@"'
    prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-euc", script, "_"]
    mode = "from gateway.host import cgroup; print(cgroup.mode())"
    assert run([sys.executable, "-c", mode], prefix=prefix).strip() == cgroup.Mode.V1
    conformance(prefix)
