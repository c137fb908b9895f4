"""`fieldgate-cloud`: reads the command line, runs one command, turns errors into a clear sentence and an exit code."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cloud.cli import (
    deploy,
    diff,
    enroll,
    exec,
    keys,
    logs,
    operations,
    pin,
    restart,
    rollback,
    serve,
    stats,
    tags,
    undeploy,
    watch,
    why,
)  # fmt: skip
from cloud.state import VARIABLE, State
from gateway import __version__
from gateway.errors import FieldgateError, Unavailable

COMMANDS = (
    serve, keys, enroll, deploy, undeploy, diff, watch, tags,
    why, logs, exec, stats, restart, rollback, pin, operations,
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="fieldgate-cloud", description="The cloud of a fleet of gateways.")
    parser.add_argument("--version", action="version", version=f"fieldgate-cloud {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    default = State.from_environment().directory
    for module in COMMANDS:
        name = module.__name__.rpartition(".")[2]
        command = commands.add_parser(name, help=(module.__doc__ or "").splitlines()[0].partition(": ")[2])
        command.add_argument("--state", type=Path, default=default, help=f"state directory (%(default)s, {VARIABLE})")
        command.add_argument("--json", action="store_true", help="print JSON")
        module.add(command)
        command.set_defaults(do=module.run)
    given = sys.argv[1:] if arguments is None else arguments
    own = given[: given.index("--")] if "--" in given else given
    options = parser.parse_args(own)
    options.program = given[len(own) + 1 :]
    if options.program and not getattr(options, "takes_program", False):
        parser.error("-- is for commands that run a program")
    try:
        code: int = options.do(options, State(options.state.absolute()))
    except FieldgateError as failure:
        print(f"fieldgate-cloud: {failure}", file=sys.stderr)
        return failure.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141
    except OSError as failure:  # a disk that is full, a file that may not be written
        print(f"fieldgate-cloud: cannot {options.command}: {failure}", file=sys.stderr)
        return Unavailable.exit_code
    return code


if __name__ == "__main__":
    sys.exit(main())
