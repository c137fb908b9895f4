"""`fieldgate-cloud watch`: what happens, live: states, progress, data that arrived; until Ctrl-C."""

from __future__ import annotations

import argparse
from typing import Any

from cloud.cli.client import CloudClient
from cloud.state import State
from gateway.terminal import clock, print_json, printable


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("--gateway", default="", help="only this one")


def run(options: argparse.Namespace, state: State) -> int:
    with CloudClient(state).events(options.gateway) as events:
        for event in events:
            if event["kind"] == "idle":
                continue
            if options.json:
                print_json(event)
            else:
                print(printable(f"{clock(event['time_ns'])} {event['gateway']} {_text(event)}"), flush=True)
    return 0


def _text(event: dict[str, Any]) -> str:
    match event["kind"]:
        case "status":
            status = event["status"]
            revisions = ", ".join(f"{name} {number}" for name, number in (status.get("revisions") or {}).items())
            return ("online" if status["online"] else "offline") + (f", revisions: {revisions}" if revisions else "")
        case "reported":
            report = event["report"]
            services = ", ".join(f"{service['name']} {service['phase']}" for service in report["services"])
            reason = f": {report['reason']}" if report.get("reason") else ""
            return f"{report['app']} {report['version']} {report['rollout']}: {services}{reason}"
        case "removed":
            return f"{event['app']} removed"
        case "progress":
            progress = event["progress"]
            done = f" {progress.get('done_bytes', 0)}/{progress['total_bytes']}" if progress.get("total_bytes") else ""
            who = "/".join(part for part in (progress.get("app", ""), progress.get("service", "")) if part)
            return f"{progress['kind']} {who} {progress.get('text', '')}{done}"
        case "data":
            return f"{event['stream']} {event['first']} to {event['last']}, {event['new']} new"
        case "operation":
            return f"operation {event['op']} {event['app']} {event['id']} done"
        case "desired":
            return f"desired revision {event['revision']} published: {', '.join(event['apps']) or 'no APPs'}"
    return str(event["kind"])
