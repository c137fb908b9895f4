"""`fieldgate down`: end the agent, all APPs, and everything that was mounted for them."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from gateway.cli.client import Agent
from gateway.errors import TimedOut, Unavailable
from gateway.paths import Paths
from gateway.terminal import print_json

WAIT_S = 60.0


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("--profile", type=Path, help="of this board: does it also when no agent runs")


def run(options: argparse.Namespace, paths: Paths) -> int:
    pid = _down(options, paths)
    if options.json:
        print_json({"down": True, "agent": pid})
    return 0


def _down(options: argparse.Namespace, paths: Paths) -> int:
    """Pid of the agent that has ended; 0 when there was none."""
    agent = Agent(paths.admin_socket)
    try:
        pid = int(agent.call("GET", "/v1/status")["pid"])
    except Unavailable as failure:
        if options.profile is None:
            hint = "with --profile FILE the APPs are taken down without an agent"
            raise Unavailable(failure.message, hint=hint) from failure
        from gateway.agent import tear_down

        tear_down(options.profile, paths)
        return 0
    agent.call("POST", "/v1/down")
    deadline = time.monotonic() + WAIT_S
    while _runs(pid):
        if time.monotonic() > deadline:
            raise TimedOut(f"cannot see the agent end: not after {WAIT_S:g} s")
        time.sleep(0.05)
    return pid


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
