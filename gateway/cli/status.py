"""`fieldgate status`: the gateway as a whole."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

from gateway.cli.client import Agent
from gateway.paths import Paths
from gateway.terminal import print_json, print_table


def add(command: argparse.ArgumentParser) -> None:
    del command


def run(options: argparse.Namespace, paths: Paths) -> int:
    status = Agent(paths.admin_socket).call("GET", "/v1/status")
    if options.json:
        print_json(status)
    else:
        print_table(("", ""), _rows(status), "")
    return 0


def _rows(status: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("gateway", "incarnation", "version", "profile", "engine", "pid"):
        yield name, str(status[name])
    yield "cloud", _cloud(status["cloud"])
    for uplink in status["uplinks"]:
        yield f"uplink {uplink['interface']}", _uplink(uplink)
    yield "revisions", ", ".join(f"{who} {number}" for who, number in status["revisions"].items()) or "none"
    yield "apps", ", ".join(f"{app} {rollout}" for app, rollout in status["apps"].items()) or "none"
    outbox = status["outbox"]
    waiting = sum(stream["pending"] for stream in outbox["streams"])
    dropped = sum(stream["dropped"] for stream in outbox["streams"])
    room = f"{outbox['used_bytes'] / 1e6:.1f} of {outbox['max_bytes'] / 1e6:.1f} MB"
    yield "outbox", f"{waiting} records wait, {dropped} dropped, {room}{_because(outbox['fault'])}"
    pipeline = status["pipeline"]
    yield "responses", f"{pipeline['responses']}, the last in {pipeline['last_response_us']:.0f} µs"
    for line in status["lines"]:
        state = f"{line['value']}, decided by {line['decided_by']}" if line["available"] else "away"
        yield f"line {line['line']}", state
    for bus in status["serial"]:
        state = "open" if bus["open"] else "away"
        yield (
            f"port {bus['port']}",
            f"{state}, {bus['answered']} answered, {bus['timed_out']} timed out" + _because(bus["fault"]),
        )


def _cloud(cloud: dict[str, Any]) -> str:
    if not cloud:
        return "no link"
    return "connected" if cloud["connected"] else "not connected" + _because(cloud["error"])


def _uplink(uplink: dict[str, Any]) -> str:
    state = "in use" if uplink["in_use"] else "ready" if uplink["up"] else "down"
    since = time.strftime("%H:%M", time.localtime(uplink["since_ns"] / 1e9))
    return f"{uplink['kind']}{', metered' if uplink['metered'] else ''}, {state} since {since}"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
