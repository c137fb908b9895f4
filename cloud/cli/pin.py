"""`fieldgate-cloud pin`: the version that runs on a gateway stays, whatever is deployed, until it is unpinned."""

from __future__ import annotations

import argparse

from cloud.cli.operate import add_target, ask
from cloud.state import State
from gateway.terminal import print_json


def add(command: argparse.ArgumentParser) -> None:
    add_target(command)
    command.add_argument("--off", action="store_true", help="unpin it: what is deployed runs again")


def run(options: argparse.Namespace, state: State) -> int:
    done = ask(options, state, "pin", undo=options.off)
    if options.json:
        print_json(done)
    else:
        stays = "is to run" if options.off else "stays"
        print(f"{options.app} on {options.gateway}: version {done['version']} {stays}")
    return 0
