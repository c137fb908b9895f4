"""The leak checks themselves, on tests that leak: each kind of leak fails the run that it is in, and is named."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAD = "import asyncio, ctypes, os, subprocess, threading, time\nimport pytest\n"
BODIES = {
    "tasks": "async def main(): asyncio.create_task(asyncio.sleep(60), name='forgotten')\nasyncio.run(main())",
    "threads": "threading.Thread(target=time.sleep, args=(4,), daemon=True).start()",
    "descriptors": "os.open('/', os.O_RDONLY)",
    "processes": "kept.append(subprocess.Popen(['sleep', '7']))",
    # Forked away twice, in a session of its own and without our environment: a daemon.
    "orphans": "subprocess.run(['setsid', '-f', 'sleep', '7'], env={'PATH': os.environ['PATH']}, check=True)",
    "zombies": "kept.append(subprocess.Popen(['true']))",
    "namespaces": "threading.Thread(target=lambda: (ctypes.CDLL(None).unshare(0x04000000), time.sleep(4)), daemon=True)"
    ".start()\ntime.sleep(0.2)",
    "nothing": "subprocess.run(['setsid', '-f', 'true'], check=True)\nasyncio.run(asyncio.sleep(0))",
}

# What is left ends with that run: nothing of it may be left in this one.
END = """

@pytest.fixture(scope='session', autouse=True)
def clean():
    yield
    for pid in open(f'/proc/self/task/{os.getpid()}/children').read().split():
        os.kill(int(pid), 9)
"""


def outcome(directory: Path, source: str) -> tuple[int, str]:
    """Of a run of its own: exit status and what it printed."""
    (directory / "test_it.py").write_text(HEAD + source)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "-c", "/dev/null"]
    options = ["-o", "leak_grace_s=0.3", "--rootdir", str(directory), str(directory)]
    done = subprocess.run(
        [*argv, *options], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        stdin=subprocess.DEVNULL, env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    return done.returncode, done.stdout


def test_every_kind_of_leak_fails_the_test_that_made_it(tmp_path: Path) -> None:
    tests = [
        f"def test_{name}():\n" + "\n".join(f"    {line}" for line in body.splitlines())
        for name, body in BODIES.items()
    ]
    status, said = outcome(tmp_path, "kept = []\n" + "\n\n".join(tests) + END)
    assert status == 1, said
    failed = {line.split("::test_")[1].split()[0] for line in said.splitlines() if line.startswith("ERROR")}
    assert failed == set(BODIES) - {"nothing"}, said
    assert "forgotten" in said
    for name in ("tasks", "threads", "descriptors", "processes", "namespaces"):
        assert f"'{name}': [" in said, name


def test_what_fixtures_leave_fails_the_run(tmp_path: Path) -> None:
    daemon = "    subprocess.run(['setsid', '-f', 'sleep', '{}'])\n"
    fixtures = "".join(
        f"@pytest.fixture(scope='{scope}')\ndef {scope}_daemon():\n{daemon.format(seconds)}"
        for scope, seconds in (("module", 3), ("session", 3.01))
    )
    status, said = outcome(tmp_path, fixtures + "def test_it(module_daemon, session_daemon): pass\n")
    assert "1 passed" in said
    assert "error" not in said
    assert status == 1
    (line,) = (line for line in said.splitlines() if line.startswith("the fixtures left behind: {'processes': ['"))
    assert line.count("sleep 3") == 2
    time.sleep(1)  # they end by themselves


def test_a_skipped_test_fails_the_run(tmp_path: Path) -> None:
    (tmp_path / "test_module.py").write_text("import pytest\npytest.skip('not today', allow_module_level=True)\n")
    allowed = "@pytest.mark.skip(reason='cannot run here: no such board')\ndef test_allowed(): pass\n"
    marked = allowed + "@pytest.mark.skip(reason='not today')\ndef test_marked(): pass\n"
    status, said = outcome(tmp_path, marked + "def test_inside(): pytest.skip('not today')\ndef test_it(): pass\n")
    assert status == 1, said
    (line,) = (line for line in said.splitlines() if line.startswith("skipped, and nothing may be"))
    assert all(name in line for name in ("test_module.py", "::test_marked", "::test_inside"))
    assert "test_allowed" not in line
