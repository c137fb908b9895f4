"""`fieldgate audit`: what was ordered on this gateway, by whom, and what came of it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

from gateway.cli.client import Agent
from gateway.paths import Paths
from gateway.terminal import print_json, print_table

COLUMNS = ("TIME", "BY", "WHAT", "APP", "ARGUMENTS", "EXIT", "OUTCOME")


def add(command: argparse.ArgumentParser) -> None:
    del command


def run(options: argparse.Namespace, paths: Paths) -> int:
    entries = Agent(paths.admin_socket).call("GET", "/v1/audit")
    if options.json:
        print_json(entries)
    else:
        print_table(COLUMNS, _rows(entries), "nothing was ordered yet")
    return 0


def _rows(entries: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for entry in entries:
        began = time.localtime(entry.get("began_ns", 0) // 10**9)
        app = f"{entry['app']}/{entry['service']}" if entry.get("service") else entry["app"]
        outcome = entry.get("outcome") or "not ended, or the agent ended before it"
        yield (
            time.strftime("%Y-%m-%d %H:%M:%S", began),
            entry["by"],
            entry["op"],
            app,
            entry.get("arguments", ""),
            str(entry.get("exit_code", "-")),
            outcome,
        )
