"""`fieldgate-cloud logs`: the last lines that an APP on a gateway has printed."""

from __future__ import annotations

import argparse
import sys

from cloud.cli.operate import add_target, ask
from cloud.state import State
from gateway.terminal import print_json, printable


def add(command: argparse.ArgumentParser) -> None:
    add_target(command)
    command.add_argument("--service", default="", help="one of its services (the first one)")
    command.add_argument("--tail", type=int, default=100, help="lines from the past (%(default)s, at most 1000)")


def run(options: argparse.Namespace, state: State) -> int:
    found = ask(options, state, "logs", service=options.service, tail=options.tail)
    if options.json:
        print_json(found)
        return 0
    for line in found["lines"]:
        print(line["time"][11:23], printable(line["text"]))
    if found["truncated"]:
        print("fieldgate-cloud: older lines did not fit into the answer", file=sys.stderr)
    return 0
