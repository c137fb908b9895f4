"""The border worker: a short-lived, unprivileged process that turns hostile bytes into a verdict.

Started by `trust/border.py` for each document. Reads one JSON request on stdin, writes one verdict on stdout:
`{"ok": VALUE}` with the accepted document as `model.wire` writes it, or `{"error": FieldgateError.to_json()}`. It
imports what it needs as root and then gives up everything: user nobody, no new privileges, no files, no processes,
little memory and time. A parser that crashes here is a refused document, not a dead gateway. Never imported by the
running agent.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.documents import config, desired, enrolment, keys, operation, profile
from gateway.errors import FieldgateError, InvalidInput
from gateway.model.trust import Expected, Keys
from gateway.model.wire import canonical, from_wire, to_wire

MAX_REQUEST_BYTES: Final = 4 << 20
NOBODY: Final = 65534
"""Debian's nobody and nogroup."""
CPU_SECONDS: Final = 20
DATA_BYTES: Final = 128 << 20
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38

Request = Mapping[str, Any]


def _bytes(request: Request) -> bytes:
    return base64.b64decode(request["document"], validate=True)


KINDS: Final[dict[str, Callable[[Request], Any]]] = {
    "desired": lambda r: desired.accept_desired(_bytes(r), from_wire(Expected, r["expected"], "expected")),
    "operation": lambda r: operation.accept_operation(
        _bytes(r), [from_wire(Expected, entry, "expected") for entry in r["expected"]]
    ),
    "keys": lambda r: keys.succeed(from_wire(Keys, r["current"], "current"), _bytes(r)),
    "enrolment": lambda r: enrolment.parse_enrolment(_bytes(r)),
    "profile": lambda r: profile.parse_profile(_bytes(r), r["name"]),
    "config": lambda r: config.parse_config(_bytes(r), r["name"]),
}
"""What can be asked for. `document` is base64; the other keys come from the agent and are trusted."""


def judge(request_bytes: bytes) -> bytes:
    """The verdict on a request."""
    try:
        request = json.loads(request_bytes)
        if request["kind"] not in KINDS:
            raise InvalidInput(f"cannot judge a document of kind {request['kind']!r}")
        return canonical({"ok": to_wire(KINDS[request["kind"]](request))})
    except FieldgateError as failure:
        return canonical({"error": failure.to_json()})


def give_up_privileges() -> None:
    """Become nobody, for good, with tight limits. OSError when that is not possible: then nothing is judged."""
    # When memory is short the kernel takes this process and not the gateway.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_NO_NEW_PRIVS, 1), (_PR_SET_PDEATHSIG, signal.SIGKILL)):
        if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {option}")
    # stdin, stdout and stderr are open; with three descriptors at most there is no fourth: no file, no socket.
    for limit, value in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_DATA, DATA_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 3),
    ):
        resource.setrlimit(limit, (value, value))


def main() -> None:
    """One request, one verdict; any other end means that the document is refused."""
    give_up_privileges()
    request = sys.stdin.buffer.read(MAX_REQUEST_BYTES + 1)
    if len(request) > MAX_REQUEST_BYTES:
        sys.exit(f"request of more than {MAX_REQUEST_BYTES} bytes")
    sys.stdout.buffer.write(judge(request))


if __name__ == "__main__":
    main()
