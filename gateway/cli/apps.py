"""`fieldgate apps`: list APPs; stop, start or restart one."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from gateway.cli.client import Agent
from gateway.model.names import APP, check
from gateway.paths import Paths
from gateway.terminal import print_json, print_table

DONE = {"stop": "will stop, and stay so until it is started", "start": "will start", "restart": "will restart"}


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("action", nargs="?", choices=("list", "stop", "start", "restart"), default="list")
    command.add_argument("app", nargs="?", default="", help="name of the APP")


def run(options: argparse.Namespace, paths: Paths) -> int:
    agent = Agent(paths.admin_socket)
    if options.action != "list":
        check(APP, options.app, "APP")
        agent.call("POST", f"/v1/apps/{options.app}/{options.action}")
        if options.json:
            print_json({"app": options.app, "action": options.action})
        else:
            print(f"{options.app}: {DONE[options.action]}")
        return 0
    reports = agent.call("GET", "/v1/apps")
    if options.json:
        print_json(reports)
    else:
        columns = ("APP", "SERVICE", "PHASE", "VERSION", "RESTARTS", "OWNER", "REASON")
        print_table(columns, _rows(reports), "no APP is deployed here")
    return 0


def _rows(reports: list[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    for report in reports:
        for service in report["services"]:
            yield (
                report["app"],
                service["name"],
                service["phase"],
                report["version"],
                service.get("restarts", 0),
                report["authority"],
                service.get("reason") or report.get("reason", ""),
            )
