"""The network worker: does the kernel's part of the agent's networks, and ends when nothing was asked for a while.

Its standard input is a socket: one request a line, `{"steps": [{"do": NAME, ...}, ...]}`, one answer a line,
`{"done": [RESULT, ...]}` or `{"error": {...}}` of the first step that failed; what comes after it is not tried. It
keeps the agent free of pyroute2 and libnftables, and a fault in either from ending the agent. Every step may be asked
again. Started by `caller.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from gateway.errors import FieldgateError, NotSupported, Unavailable
from gateway.host import netns
from gateway.network.defaultroutes import set_metric
from gateway.network.nftables import normalised, open_nftables
from gateway.network.rtnetlink import RtNetlink, Wire

IDLE_S: Final = 10.0
MAX_REQUEST_BYTES: Final = 4 << 20
_FORWARDING: Final = {"ipv4": "ipv4/ip_forward", "ipv6": "ipv6/conf/all/forwarding"}


class Worker:
    def __init__(self) -> None:
        self._links = RtNetlink()
        self._rules = open_nftables()
        self._steps: dict[str, Callable[[dict[str, Any]], Any]] = {
            "ensure": lambda step: self._links.ensure(Wire(**step["wire"])),
            "remove": self._remove,
            "rules": lambda step: self._rules.run(step["script"]),
            "listing": lambda step: _digest(self._rules.run(f"list table inet {step['table']}\n")),
            "metric": lambda step: set_metric(step["name"], step["metric"]),
            "forward": lambda step: forward(step["families"], on=step["on"]),
        }

    def answer(self, line: bytes) -> bytes:
        try:
            done = [self._do(step) for step in json.loads(line)["steps"]]
            return json.dumps({"done": done}).encode() + b"\n"
        except FieldgateError as failure:
            return json.dumps({"error": failure.to_json()}).encode() + b"\n"

    def _do(self, step: dict[str, Any]) -> Any:
        try:
            return self._steps[step["do"]](step)
        except OSError as failure:
            kind = NotSupported if failure.errno in _NOT_SUPPORTED else Unavailable
            raise kind(f"cannot {_WORDS[step['do']]} {_subject(step)}: {failure.strerror or failure}") from failure

    def _remove(self, step: dict[str, Any]) -> None:
        self._links.remove(step["name"])
        netns.unpin(Path(step["pin"]))


_NOT_SUPPORTED: Final = {95, 93, 97}  # EOPNOTSUPP, EPROTONOSUPPORT, EAFNOSUPPORT
_WORDS: Final = {
    "ensure": "make the link", "remove": "remove the link", "rules": "set", "listing": "read",
    "metric": "set the metric of", "forward": "switch on",
}  # fmt: skip


def _subject(step: dict[str, Any]) -> str:
    return str(step.get("name") or step.get("wire", {}).get("name") or f"{step['do']} of the network")


def _digest(listing: str) -> str:
    return hashlib.sha256(normalised(listing).encode()).hexdigest()


def forward(families: list[str], *, on: bool) -> list[str]:
    """Switch forwarding; the families in which that was a change.

    With forwarding on, Linux hears no router advertisements (accept_ra 1): interfaces that did go on with 2, which
    without forwarding means the same as 1.
    """
    changed = []
    for family in families:
        file = Path("/proc/sys/net") / _FORWARDING[family]
        if (file.read_text().strip() != "0") == on:
            continue
        for advertised in Path("/proc/sys/net/ipv6/conf").glob("*/accept_ra") if family == "ipv6" and on else ():
            with contextlib.suppress(OSError):
                if advertised.read_text().strip() == "1":
                    advertised.write_text("2")
        file.write_text("1" if on else "0")
        changed.append(family)
    return changed


def serve(connection: socket.socket) -> None:
    """Until nothing is asked for IDLE_S, or the agent is gone."""
    worker = None
    pending = b""
    while True:
        while b"\n" not in pending:
            if not select.select([connection], [], [], IDLE_S)[0]:
                return
            chunk = connection.recv(1 << 16)
            if not chunk or len(pending) > MAX_REQUEST_BYTES:
                return
            pending += chunk
        line, _, pending = pending.partition(b"\n")
        try:
            worker = worker or Worker()
        except FieldgateError as failure:
            connection.sendall(json.dumps({"error": failure.to_json()}).encode() + b"\n")
        else:
            connection.sendall(worker.answer(line))


def main() -> None:
    # When memory is short the kernel takes this process and not the gateway.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as connection:
        serve(connection)


if __name__ == "__main__":
    main()
