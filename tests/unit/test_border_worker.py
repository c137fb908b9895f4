"""The worker process itself: what it has given up when it judges, and what becomes of hostile requests."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.border import DATA_BYTES, MAX_REQUEST_BYTES, NOBODY, judge
from gateway.trust.border import WORKER

ROOT = Path(__file__).parents[2]
# What the snippets use is imported first: afterwards no file can be opened.
START = (
    "import ctypes, os, resource, socket, sys; sys.path.insert(0, sys.argv[1])\n"
    "from gateway import border; border.give_up_privileges()\n"
)


def confined(code: str, *, exit_code: int = 0) -> str:
    """What `code` prints when it runs as the worker would."""
    argv = [sys.executable, "-I", "-c", START + code, str(ROOT)]
    finished = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == exit_code, finished.stderr
    return finished.stdout


@pytest.mark.skipif(os.getuid() != 0, reason="cannot run here: only root can become nobody")
def test_it_is_nobody_for_good() -> None:
    code = (
        "import os, resource as r\n"
        "print([os.getresuid(), os.getresgid(), os.getgroups()])\n"
        "try: os.setuid(0)\n"
        "except PermissionError: print('no way back')\n"
    )
    ids = [(NOBODY, NOBODY, NOBODY), (NOBODY, NOBODY, NOBODY), []]
    assert confined(code).splitlines() == [str(ids), "no way back"]


def test_it_has_no_files_no_sockets_no_children_and_no_new_privileges() -> None:
    code = (
        "import os, socket, ctypes\n"
        "for what in (lambda: open('/etc/passwd'), lambda: socket.socket(), lambda: os.pipe()):\n"
        "    try: what(); print('could')\n"
        "    except OSError as failure: print(failure.errno)\n"
        "print(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0))\n"
        "if os.getuid():\n"
        "    try: os.fork(); print('could')\n"
        "    except OSError as failure: print(failure.errno)\n"
    )
    assert confined(code).splitlines() == ["24", "24", "24", "1", "11"]


def test_its_memory_is_bounded() -> None:
    assert confined(f"try: bytearray({DATA_BYTES})\nexcept MemoryError: print('bounded')\n") == "bounded\n"


def ask(request: Any) -> subprocess.CompletedProcess[bytes]:
    data = request if isinstance(request, bytes) else json.dumps(request).encode()
    return subprocess.run(WORKER, input=data, capture_output=True, timeout=60, check=False)


def test_it_judges_when_confined() -> None:
    document = base64.b64encode(b"uplink_window = 3").decode()
    finished = ask({"kind": "config", "document": document, "name": "c.toml"})
    assert (finished.returncode, json.loads(finished.stdout)) == (0, {"ok": {"uplink_window": 3}})


@pytest.mark.parametrize("request_bytes", [b"", b"[]", b"\xff", b"[" * 10_000, b"x" * (MAX_REQUEST_BYTES + 1)])
def test_a_request_that_is_none_ends_it_without_a_verdict(request_bytes: bytes) -> None:
    finished = ask(request_bytes)
    assert finished.returncode != 0
    assert finished.stdout == b""


def test_an_unknown_kind_is_an_error() -> None:
    assert json.loads(judge(b'{"kind": "reboot"}'))["error"]["code"] == "invalid_input"
