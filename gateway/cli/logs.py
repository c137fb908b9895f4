"""`fieldgate logs`: what an APP has printed."""

from __future__ import annotations

import argparse
from urllib.parse import urlencode

from gateway.cli.client import Agent
from gateway.model.names import APP, check
from gateway.paths import Paths
from gateway.terminal import print_json, printable


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("app", help="name of the APP")
    command.add_argument("--service", default="", help="one of its services (the first one)")
    command.add_argument("--tail", type=int, default=100, help="lines from the past (%(default)s)")
    command.add_argument("-f", "--follow", action="store_true", help="go on with new lines")


def run(options: argparse.Namespace, paths: Paths) -> int:
    check(APP, options.app, "APP")
    query = urlencode({"service": options.service, "tail": options.tail, "follow": int(options.follow)})
    for line in Agent(paths.admin_socket).stream(f"/v1/apps/{options.app}/logs?{query}"):
        if options.json:
            print_json(line)
        else:
            print(line["time"][11:23], printable(line["text"]), flush=True)
    return 0
