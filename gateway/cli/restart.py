"""`fieldgate restart`: replaces all containers of an APP."""

from __future__ import annotations

import argparse

from gateway.cli.client import Agent
from gateway.paths import Paths
from gateway.terminal import print_json


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("app", help="name of the APP")


def run(options: argparse.Namespace, paths: Paths) -> int:
    Agent(paths.admin_socket).call("POST", f"/v1/apps/{options.app}/restart")
    if options.json:
        print_json({"app": options.app, "action": "restart"})
    return 0
