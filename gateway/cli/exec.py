"""`fieldgate exec`: runs a program in a container of an APP, to its end, and exits as it did."""

from __future__ import annotations

import argparse
import base64
import sys

from gateway.cli.client import Agent
from gateway.errors import InvalidInput
from gateway.model.wire import canonical
from gateway.paths import Paths
from gateway.terminal import print_json, show_output


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("app", help="name of the APP")
    command.add_argument("--service", default="", help="one of its services (the first one)")
    command.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="killed then (%(default)g)")
    command.epilog = "What to run follows after --, as in `fieldgate exec meter -- ls /data`."
    command.set_defaults(takes_program=True)


def run(options: argparse.Namespace, paths: Paths) -> int:
    """The program's exit status. Its output is bounded, and what was cut is said."""
    if not options.program:
        raise InvalidInput("cannot run nothing: name a program after --")
    asked = {"argv": options.program, "service": options.service, "timeout_s": options.timeout}
    agent = Agent(paths.admin_socket)
    done = agent.call("POST", f"/v1/apps/{options.app}/exec", canonical(asked), timeout_s=options.timeout + 30.0)
    if options.json:
        print_json(done)
    else:
        show_output(base64.b64decode(done["output"]))
    if done["truncated"]:
        print(f"fieldgate: only {done['output_bytes']} bytes of its output are shown", file=sys.stderr)
    return int(done["exit_code"])
