"""`fieldgate top`: what the containers use, live; with --json a line per reading. Until Ctrl-C."""

from __future__ import annotations

import argparse
import time
from urllib.parse import urlencode

from gateway.cli.client import Agent
from gateway.paths import Paths
from gateway.terminal import STATS_COLUMNS, made_table, print_json, stats_rows


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("app", nargs="?", default="", help="only this one")
    command.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="(%(default)g)")


def run(options: argparse.Namespace, paths: Paths) -> int:
    agent, target = Agent(paths.admin_socket), "/v1/stats?" + urlencode({"app": options.app})
    if options.json:
        while True:
            print_json(agent.call("GET", target))
            time.sleep(options.interval)
    from rich.live import Live

    with Live(auto_refresh=False) as live:
        while True:
            found = sorted(agent.call("GET", target), key=lambda entry: -entry["cpu_percent"])
            live.update(made_table(STATS_COLUMNS, stats_rows(found)), refresh=True)
            time.sleep(options.interval)
