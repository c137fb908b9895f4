"""`fieldgate status`: the gateway as a whole."""

from __future__ import annotations

import argparse

from gateway.cli.client import Agent
from gateway.cli.output import print_json, print_table
from gateway.paths import Paths


def add(command: argparse.ArgumentParser) -> None:
    del command


def run(options: argparse.Namespace, paths: Paths) -> int:
    status = Agent(paths.admin_socket).call("GET", "/v1/status")
    if options.json:
        print_json(status)
    else:
        print_table(("", ""), status.items(), "")
    return 0
