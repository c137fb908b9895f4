"""`fieldgate tags`: the latest value of every tag, or new ones as they come."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import urlencode

from gateway.cli.client import Agent
from gateway.paths import Paths
from gateway.terminal import clock, print_json, print_table, printable


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("match", nargs="*", default=["#"], help="tag patterns, as meter/power or meter/# (all tags)")
    command.add_argument("-f", "--follow", action="store_true", help="new samples as they come")


def run(options: argparse.Namespace, paths: Paths) -> int:
    agent = Agent(paths.admin_socket)
    query = {"match": ",".join(options.match)}
    if options.follow:
        for sample in agent.stream("/v1/tags?" + urlencode({**query, "follow": 1})):
            if options.json:
                print_json(sample)
            else:
                print(printable("  ".join(_row(sample))), flush=True)
        return 0
    samples = agent.call("GET", "/v1/tags?" + urlencode(query))
    if options.json:
        print_json(samples)
    else:
        columns = ("TIME", "TAG", "VALUE", "UNIT", "QUALITY", "SOURCE")
        print_table(columns, [_row(sample) for sample in samples], "No tags: no APP has published any yet.")
    return 0


def _row(sample: dict[str, Any]) -> tuple[str, ...]:
    value = sample["value"]
    shown = f"{value:.6g}" if isinstance(value, float) else str(value)
    return (clock(sample["time_ns"]), sample["tag"], shown, sample["unit"], sample["quality"], sample["source"])
