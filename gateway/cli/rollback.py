"""`fieldgate rollback`: the last good version runs at once; it stays until another version is deployed."""

from __future__ import annotations

import argparse

from gateway.cli.client import Agent
from gateway.paths import Paths
from gateway.terminal import print_json


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("app", help="name of the APP")
    command.add_argument("--undo", action="store_true", help="try the version again that was rolled back, by whomever")


def run(options: argparse.Namespace, paths: Paths) -> int:
    order = "retry" if options.undo else "rollback"
    answer = Agent(paths.admin_socket).call("POST", f"/v1/apps/{options.app}/{order}")
    if options.json:
        print_json(answer)
    else:
        print(f"{options.app}: version {answer['version']} is to run")
    return 0
