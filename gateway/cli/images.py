"""`fieldgate images`: list images; import an OCI archive, so that its APP needs no registry; remove one."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from gateway.cli.client import Agent
from gateway.errors import InvalidInput
from gateway.paths import Paths
from gateway.terminal import print_json, print_table, printable


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("action", nargs="?", choices=("list", "import", "remove"), default="list")
    command.add_argument("what", nargs="?", default="", help="import: a file; remove: an image as `list` shows it")


def run(options: argparse.Namespace, paths: Paths) -> int:
    agent = Agent(paths.admin_socket)
    if options.action != "list" and not options.what:
        raise InvalidInput(f"cannot {options.action}: name {'a file' if options.action == 'import' else 'an image'}")
    if options.action == "import":
        return _import(agent, Path(options.what).absolute(), options.json)
    if options.action == "remove":
        agent.call("DELETE", f"/v1/images?{urlencode({'image': options.what})}")
        if options.json:
            print_json({"image": options.what, "action": "remove"})
        return 0
    images = agent.call("GET", "/v1/images")
    if options.json:
        print_json(images)
    else:
        rows = [(image["image"], "not used yet" if image["imported"] else "in use") for image in images]
        print_table(("IMAGE", "STATE"), rows, "no image is here")
    return 0


def _import(agent: Agent, file: Path, as_json: bool) -> int:
    seen: dict[str, Any] = {"images": [], "skipped": []}
    for line in agent.stream(f"/v1/images?{urlencode({'file': os.fspath(file)})}", "POST"):
        if "image" in line:
            seen["images"].append(line["image"])
        elif "skipped" in line:
            seen["skipped"].append(line["skipped"])
        elif not as_json and sys.stderr.isatty():
            share = 100 * line["done_bytes"] // max(1, line["total_bytes"])
            print(f"\r{share:3d} % {printable(line['text']):40}", end="", file=sys.stderr, flush=True)
    if as_json:
        print_json(seen)
        return 0
    if sys.stderr.isatty():
        print(file=sys.stderr)
    for image in seen["images"]:
        print(f"imported {image}")
    for why in seen["skipped"]:
        print(f"skipped: {printable(why)}", file=sys.stderr)
    return 0
