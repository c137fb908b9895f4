"""`fieldgate pin`: the version that runs stays, whatever is deployed, until it is unpinned."""

from __future__ import annotations

import argparse

from gateway.cli.client import Agent
from gateway.paths import Paths
from gateway.terminal import print_json


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("app", help="name of the APP")
    command.add_argument("--off", action="store_true", help="unpin it: what is deployed runs again")


def run(options: argparse.Namespace, paths: Paths) -> int:
    order = "unpin" if options.off else "pin"
    answer = Agent(paths.admin_socket).call("POST", f"/v1/apps/{options.app}/{order}")
    if options.json:
        print_json(answer)
    else:
        print(f"{options.app}: version {answer['version']} {'is to run' if options.off else 'stays'}")
    return 0
