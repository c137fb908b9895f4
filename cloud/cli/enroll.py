"""`fieldgate-cloud enroll`: makes a gateway known and writes the files that it needs in its `identity/`."""

from __future__ import annotations

import argparse
from pathlib import Path

from cloud.cli.client import CloudClient
from cloud.state import State, write_new
from gateway.errors import Conflict, Unavailable
from gateway.terminal import print_json

FILES = {"enrolment": "enrolment.json", "key": "gateway.key", "certificate": "gateway.crt", "ca": "ca.crt"}


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("gateway", help="its id, also its MQTT user name")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write its identity")
    command.add_argument(
        "--broker", default="", metavar="HOST:PORT", help="how it reaches the broker (as `serve` does)"
    )
    command.add_argument("--replace", action="store_true", help="enrol it anew; what it holds now stops being valid")


def run(options: argparse.Namespace, state: State) -> int:
    try:
        options.out.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as failure:
        raise Unavailable(f"cannot write {options.out}: {failure.strerror}") from failure
    # Before anything is enrolled: an enrolment that cannot be written would be lost.
    for name in FILES.values():
        if (options.out / name).exists():
            raise Conflict(f"cannot write {options.out / name}: it exists already")
    request = {"gateway": options.gateway, "broker": options.broker, "replace": options.replace}
    made = CloudClient(state).call("POST", "/v1/gateways", request)
    for part, name in FILES.items():
        write_new(options.out / name, made[part].encode())
    if options.json:
        print_json({"gateway": options.gateway, "files": [str(options.out / name) for name in FILES.values()]})
    else:
        print(f"{options.gateway} enrolled: move {options.out}/ to the gateway's identity directory")
    return 0
