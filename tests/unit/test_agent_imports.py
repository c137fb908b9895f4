"""The running agent stays small: what the border worker and the CLI need is never imported into it."""

from __future__ import annotations

import subprocess
import sys

FOREIGN = {
    "pydantic", "pydantic_core", "securesystemslib", "cryptography", "yaml", "pyroute2", "apscheduler", "psutil",
    "rich", "fastapi", "httpx", "gpiod",
}  # fmt: skip


def test_the_agent_imports_none_of_them() -> None:
    code = (
        "import sys, gateway.agent, gateway.cli.run; print(' '.join({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    imported = set(done.stdout.split())
    assert {"gateway", "paho", "starlette", "sqlite3"} <= imported, "it is the whole agent that was imported"
    assert not imported & FOREIGN
