"""`fieldgate-cloud stats`: what the containers on a gateway use now."""

from __future__ import annotations

import argparse

from cloud.cli.operate import add_target, ask
from cloud.state import State
from gateway.terminal import STATS_COLUMNS, print_json, print_table, stats_rows


def add(command: argparse.ArgumentParser) -> None:
    add_target(command, app=False)


def run(options: argparse.Namespace, state: State) -> int:
    found = ask(options, state, "stats")
    if options.json:
        print_json(found)
    else:
        print_table(STATS_COLUMNS, stats_rows(found), "nothing runs")
    return 0
