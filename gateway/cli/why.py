"""`fieldgate why`: why an APP is as it is: the chain of causes, from what is seen to its root."""

from __future__ import annotations

import argparse
import time

from gateway.cli.client import Agent
from gateway.model.causes import Explanation, lines
from gateway.model.wire import from_wire
from gateway.paths import Paths
from gateway.terminal import print_json, printable


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("app", help="name of the APP")


def run(options: argparse.Namespace, paths: Paths) -> int:
    """0 when it is well."""
    answer = Agent(paths.admin_socket).call("GET", f"/v1/apps/{options.app}/why")
    explanation = from_wire(Explanation, answer)
    if options.json:
        print_json(answer)
    else:
        for line in lines(explanation, time.time_ns()):
            print(printable(line))
    return 0 if explanation.well else 1
