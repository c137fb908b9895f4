"""`fieldgate-cloud restart`: replaces all containers of an APP on a gateway."""

from __future__ import annotations

import argparse

from cloud.cli.operate import add_target, ask
from cloud.state import State
from gateway.terminal import print_json


def add(command: argparse.ArgumentParser) -> None:
    add_target(command)


def run(options: argparse.Namespace, state: State) -> int:
    done = ask(options, state, "restart")
    if options.json:
        print_json(done)
    else:
        print(f"{options.app} on {options.gateway}: version {done['version']} is restarted")
    return 0
