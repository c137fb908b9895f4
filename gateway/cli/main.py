"""`fieldgate`: parses the command line, runs one command, turns errors into one clear sentence and an exit code."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gateway import __version__
from gateway.cli import (
    apps,
    audit,
    deploy,
    doctor,
    down,
    exec,
    images,
    logs,
    pin,
    restart,
    rollback,
    run,
    shell,
    stats,
    status,
    tags,
    top,
    why,
)
from gateway.errors import FieldgateError, Unavailable
from gateway.paths import Paths

COMMANDS = (
    run, status, apps, why, logs, exec, shell, stats, top, restart, rollback, pin, audit, tags, images,
    deploy, doctor, down,
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="fieldgate", description="The Fieldgate agent and its local commands.")
    parser.add_argument("--version", action="version", version=f"fieldgate {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    default = Paths.from_environment()
    for module in COMMANDS:
        name = module.__name__.rpartition(".")[2]
        command = commands.add_parser(name, help=(module.__doc__ or "").splitlines()[0].partition(": ")[2])
        command.add_argument("--state", type=Path, default=default.state, help="state directory (%(default)s)")
        command.add_argument("--run", dest="run_directory", type=Path, default=default.run, help="run directory")
        command.add_argument("--json", action="store_true", help="print JSON")
        module.add(command)
        command.set_defaults(do=module.run)
    given = sys.argv[1:] if arguments is None else arguments
    own = given[: given.index("--")] if "--" in given else given
    options = parser.parse_args(own)
    options.program = given[len(own) + 1 :]
    if options.program and not getattr(options, "takes_program", False):
        parser.error("-- is for commands that run a program")
    paths = Paths(options.state.absolute(), options.run_directory.absolute())
    try:
        code: int = options.do(options, paths)
    except FieldgateError as failure:
        print(f"fieldgate: {failure}", file=sys.stderr)
        return failure.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141
    except OSError as failure:  # a disk that is full, a file that may not be written
        print(f"fieldgate: cannot {options.command}: {failure}", file=sys.stderr)
        return Unavailable.exit_code
    return code


if __name__ == "__main__":
    sys.exit(main())
