"""`fieldgate-cloud exec`: runs a program in a container on a gateway, for a limited time, and exits as it did."""

from __future__ import annotations

import argparse
import base64
import sys

from cloud.cli.operate import add_target, ask
from cloud.state import State
from gateway.errors import InvalidInput
from gateway.terminal import print_json, show_output


def add(command: argparse.ArgumentParser) -> None:
    add_target(command)
    command.add_argument("--service", default="", help="one of its services (the first one)")
    command.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="killed then (%(default)g)")
    command.add_argument("--max-output", type=int, default=16 << 10, metavar="BYTES", help="(%(default)s, up to 64 Ki)")
    command.epilog = "What to run follows after --, as in `fieldgate-cloud exec gw-1 meter -- ls /data`."
    command.set_defaults(takes_program=True)


def run(options: argparse.Namespace, state: State) -> int:
    """The program's exit status."""
    if not options.program:
        raise InvalidInput("cannot run nothing: name a program after --")
    limits = {"timeout_s": options.timeout, "max_output_bytes": options.max_output}
    done = ask(options, state, "exec", service=options.service, argv=options.program, **limits)
    if options.json:
        print_json(done)
    else:
        show_output(base64.b64decode(done["output"]))
    if done["truncated"]:
        print(f"fieldgate-cloud: only {done['output_bytes']} bytes of its output are shown", file=sys.stderr)
    return int(done["exit_code"])
