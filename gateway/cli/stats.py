"""`fieldgate stats`: what the containers use now: processor, memory, processes, disk."""

from __future__ import annotations

import argparse
from urllib.parse import urlencode

from gateway.cli.client import Agent
from gateway.paths import Paths
from gateway.terminal import STATS_COLUMNS, print_json, print_table, stats_rows


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("app", nargs="?", default="", help="only this one")


def run(options: argparse.Namespace, paths: Paths) -> int:
    found = Agent(paths.admin_socket).call("GET", "/v1/stats?" + urlencode({"app": options.app}))
    if options.json:
        print_json(found)
    else:
        print_table(STATS_COLUMNS, stats_rows(found), "nothing runs")
    return 0
