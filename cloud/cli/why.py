"""`fieldgate-cloud why`: why an APP on a gateway is as it is, as the gateway sees it."""

from __future__ import annotations

import argparse
import time

from cloud.cli.operate import add_target, ask
from cloud.state import State
from gateway.model.causes import Explanation, lines
from gateway.model.wire import from_wire
from gateway.terminal import print_json


def add(command: argparse.ArgumentParser) -> None:
    add_target(command)


def run(options: argparse.Namespace, state: State) -> int:
    """0 when it is well."""
    answer = ask(options, state, "why")
    explanation = from_wire(Explanation, answer)
    if options.json:
        print_json(answer)
    else:
        for line in lines(explanation, time.time_ns()):
            print(line)
    return 0 if explanation.well else 1
