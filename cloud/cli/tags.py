"""`fieldgate-cloud tags`: the latest values from a gateway: value, unit, quality, time; -f follows them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

from cloud.cli.client import CloudClient, path
from cloud.state import State
from gateway.terminal import clock, made_table, print_json, print_table

COLUMNS = ("TAG", "VALUE", "UNIT", "QUALITY", "TIME")
PAUSE_S = 1.0


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("--gateway", required=True)
    command.add_argument("-f", "--follow", action="store_true", help="until Ctrl-C; with --json a line per new value")


def run(options: argparse.Namespace, state: State) -> int:
    client = CloudClient(state)
    target = path("gateways", options.gateway, "tags")
    if options.follow:
        return _follow_json(client, target) if options.json else _follow(client, target)
    found = client.call("GET", target)
    if options.json:
        print_json(found)
    else:
        print_table(COLUMNS, _rows(found), "nothing has arrived yet")
    return 0


def _follow(client: CloudClient, target: str) -> int:
    from rich.live import Live

    with Live(auto_refresh=False) as live:
        while True:
            live.update(made_table(COLUMNS, _rows(client.call("GET", target))), refresh=True)
            time.sleep(PAUSE_S)


def _follow_json(client: CloudClient, target: str) -> int:
    shown: dict[str, int] = {}
    while True:
        for tag in client.call("GET", target):
            if shown.get(tag["tag"]) != tag["time_ns"]:
                shown[tag["tag"]] = tag["time_ns"]
                print_json(tag)
        time.sleep(PAUSE_S)


def _rows(tags: list[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    for tag in tags:
        value = f"{tag['value']:.6g}" if isinstance(tag["value"], float) else tag["value"]
        yield tag["tag"], value, tag["unit"], tag["quality"], clock(tag["time_ns"])
