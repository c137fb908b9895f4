"""`fieldgate-cloud rollback`: the last good version runs on a gateway at once, until another one is deployed."""

from __future__ import annotations

import argparse

from cloud.cli.operate import add_target, ask
from cloud.state import State
from gateway.terminal import print_json


def add(command: argparse.ArgumentParser) -> None:
    add_target(command)
    command.add_argument("--undo", action="store_true", help="try the version again that was rolled back, by whomever")


def run(options: argparse.Namespace, state: State) -> int:
    done = ask(options, state, "rollback", undo=options.undo)
    if options.json:
        print_json(done)
    else:
        print(f"{options.app} on {options.gateway}: version {done['version']} is to run")
    return 0
