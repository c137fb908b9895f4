"""`fieldgate shell`: a shell, or another program, on this terminal inside a container of an APP."""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator

from gateway.cli.client import Agent
from gateway.errors import FieldgateError, InvalidInput
from gateway.model.wire import canonical
from gateway.paths import Paths

SHELL = ("sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash; exec sh")
READ_BYTES = 4096


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("app", help="name of the APP")
    command.add_argument("--service", default="", help="one of its services (the first one)")
    command.epilog = "Another program than a shell may follow after --, as in `fieldgate shell meter -- top`."
    command.set_defaults(takes_program=True)


def run(options: argparse.Namespace, paths: Paths) -> int:
    """The program's exit status."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InvalidInput("cannot open a shell: this is no terminal", hint="`fieldgate exec` does without")
    agent, (columns, rows) = Agent(paths.admin_socket), os.get_terminal_size()
    asked = {
        "argv": options.program or SHELL, "service": options.service, "rows": rows, "columns": columns,
        "term": os.environ.get("TERM", "xterm"),
    }  # fmt: skip
    opened = agent.call("POST", f"/v1/apps/{options.app}/terminals", canonical(asked))
    target = f"/v1/terminals/{opened['terminal']}"
    with _raw(), _typing(agent, target), _resizing(agent, target):
        for event in agent.stream(f"{target}/output"):
            if "exit_code" in event:
                return int(event["exit_code"])
            os.write(sys.stdout.fileno(), base64.b64decode(event["output"]))
    return 1


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Every key goes inside, Ctrl-C included."""
    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin, termios.TCSADRAIN)  # what was typed already is kept
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _typing(agent: Agent, target: str) -> Iterator[None]:
    """A thread sends what is typed, until the block ends."""
    ended, end = os.pipe()

    def send() -> None:
        # Until the program is gone: then there is nobody to type to.
        with contextlib.suppress(FieldgateError):
            while ended not in select.select([sys.stdin, ended], [], [])[0]:
                data = os.read(sys.stdin.fileno(), READ_BYTES)
                if not data:
                    return
                agent.call("POST", f"{target}/input", data)

    thread = threading.Thread(target=send, name="typing", daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(end)
        thread.join(timeout=5.0)
        os.close(ended)


@contextlib.contextmanager
def _resizing(agent: Agent, target: str) -> Iterator[None]:
    def changed(*_: object) -> None:
        columns, rows = os.get_terminal_size()
        with contextlib.suppress(FieldgateError):
            agent.call("POST", f"{target}/size", canonical({"rows": rows, "columns": columns}))

    before = signal.signal(signal.SIGWINCH, changed)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
