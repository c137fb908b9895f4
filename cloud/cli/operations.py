"""`fieldgate-cloud operations`: what was asked of a gateway, by whom, and what it answered."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Iterator
from typing import Any

from cloud.cli.client import CloudClient, path
from cloud.state import State
from gateway.terminal import print_json, print_table

COLUMNS = ("TIME", "BY", "WHAT", "APP", "ARGUMENTS", "STATE", "ANSWER")


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("gateway", help="its id")


def run(options: argparse.Namespace, state: State) -> int:
    found = CloudClient(state).call("GET", path("gateways", options.gateway, "operations"))
    if options.json:
        print_json(found)
    else:
        print_table(COLUMNS, _rows(found), "nothing was asked of it yet")
    return 0


def _rows(found: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for row in found:
        asked = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["asked_ns"] // 10**9))
        arguments = dict(row["arguments"])
        argv = shlex.join(arguments.pop("argv", []))
        rest = " ".join(f"{key}={value}" for key, value in arguments.items() if value)
        answer = row["error"]["message"] if row["error"] else _short(row["result"])
        yield asked, row["asked_by"], row["op"], row["app"], f"{argv} {rest}".strip(), row["state"], answer


def _short(result: Any) -> str:
    if isinstance(result, dict) and "exit_code" in result:
        return f"exit code {result['exit_code']}, {result['output_bytes']} bytes"
    if isinstance(result, dict) and "version" in result:
        return f"version {result['version']}"
    return ""
