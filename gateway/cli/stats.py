"""`fieldgate stats`: what the containers use now: processor, memory, processes, disk."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from gateway.cli.client import Agent
from gateway.paths import Paths
from gateway.terminal import print_json, print_table

COLUMNS = ("APP", "SERVICE", "CPU %", "MEMORY", "PEAK", "LIMIT", "PIDS", "READ", "WRITTEN", "OOM")


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("app", nargs="?", default="", help="only this one")


def run(options: argparse.Namespace, paths: Paths) -> int:
    found = Agent(paths.admin_socket).call("GET", "/v1/stats?" + urlencode({"app": options.app}))
    if options.json:
        print_json(found)
    else:
        print_table(COLUMNS, rows(found), "nothing runs")
    return 0


def rows(found: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """The table's cells; `-` for what this machine does not count."""
    for entry in found:
        yield (
            entry["app"],
            entry["service"],
            f"{entry['cpu_percent']:.1f}",
            *(_size(entry.get(key)) for key in ("memory_bytes", "memory_peak_bytes", "memory_limit_bytes")),
            str(entry["pids"]),
            *(_size(entry.get(key)) for key in ("read_bytes", "written_bytes")),
            str(entry.get("oom_kills", 0)),
        )


def _size(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.1f} MB"
