"""`fieldgate-cloud diff`: what is wanted on a gateway against what it reports; exit status 1 when they differ."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from cloud.cli.client import CloudClient, path
from cloud.state import State
from gateway.terminal import print_json, print_table


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("--gateway", required=True)


def run(options: argparse.Namespace, state: State) -> int:
    found = CloudClient(state).call("GET", path("gateways", options.gateway, "diff"))
    if options.json:
        print_json(found)
    else:
        revision = found["revision"]
        print(
            f"{found['gateway']}: {'online' if found['online'] else 'offline'}, "
            f"revision {revision['desired']} wanted, {revision['reported']} reported"
        )
        columns = ("APP", "STATE", "WANTED", "REPORTED", "ROLLOUT", "SERVICES", "REASON")
        print_table(columns, _rows(found["apps"]), "no APP is wanted or reported")
    return 0 if found["same"] else 1


def _rows(apps: list[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    for app in apps:
        wanted, reported = app["desired"] or {}, app["reported"] or {}
        services = ", ".join(f"{service['name']} {service['phase']}" for service in reported.get("services", []))
        yield (
            app["app"],
            app["state"],
            wanted.get("version", "-"),
            reported.get("version", "-"),
            reported.get("rollout", "-"),
            services or "-",
            reported.get("reason", ""),
        )
