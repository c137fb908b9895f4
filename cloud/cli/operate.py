"""What the commands that ask a gateway for something share: ask, wait for the answer, raise the error in it."""

from __future__ import annotations

import argparse
import getpass
import time
from typing import Any, Final

from cloud.cli.client import CloudClient, path
from cloud.state import State
from gateway.errors import from_json

POLL_S: Final = 0.1
WAIT_S: Final = 30.0


def add_target(command: argparse.ArgumentParser, *, app: bool = True) -> None:
    command.add_argument("gateway", help="its id")
    if app:
        command.add_argument("app", help="name of the APP")
    else:
        command.add_argument("app", nargs="?", default="", help="name of the APP (all)")
    command.add_argument("--wait", type=float, default=WAIT_S, metavar="SECONDS", help="for an answer (%(default)g)")


def ask(options: argparse.Namespace, state: State, op: str, **members: Any) -> Any:
    """What the gateway answered; raises the error that it, or the cloud, answered."""
    client = CloudClient(state)
    asked = {"op": op, "asked_by": _user(), **members}
    if options.app:
        asked["app"] = options.app
    begun = client.call("POST", path("gateways", options.gateway, "operations"), {"ask": asked, "wait_s": options.wait})
    while True:
        found = client.call("GET", path("operations", begun["id"]))
        if found["error"] is not None:
            raise from_json(found["error"])
        if found["state"] == "answered":
            return found["result"]
        time.sleep(POLL_S)


def _user() -> str:
    try:
        return getpass.getuser()[:64]
    except (KeyError, OSError):
        return ""
