"""The agent's side of the border worker: one short-lived process per document, one at a time, bounded in time.

A worker that crashes, hangs or answers nonsense is a refused document (Corrupted); one that cannot be started for want
of memory is Unavailable, and the caller may try again. Verdicts on files that do not change are remembered
(`verdicts.py`), so that a boot needs no worker. Does not decide whether an accepted desired state is to be taken:
`acceptance.py` and `caps.py` do.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import gateway
from gateway.errors import Corrupted, FieldgateError, InvalidInput, TimedOut, from_json
from gateway.host.process import Finished, run_tool
from gateway.model.config import Config
from gateway.model.desired import AcceptedDesired
from gateway.model.enrolment import Enrolment
from gateway.model.operations import AcceptedOperation
from gateway.model.profile import Profile
from gateway.model.trust import Expected, Keys
from gateway.model.wire import canonical, from_wire, to_wire
from gateway.trust.caps import check_caps
from gateway.trust.verdicts import Verdicts

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 60.0
"""For start, imports (some seconds on a small ARM board) and judgement."""
MAX_DOCUMENT_BYTES: Final = 2 << 20
MAX_VERDICT_BYTES: Final = 8 << 20

# Not `-m gateway.border`: isolated mode does not look into a source tree, and the agent may run from one.
_START: Final = "import sys; sys.path.insert(0, sys.argv[1]); from gateway.border import main; main()"
WORKER: Final = (sys.executable, "-I", "-c", _START, str(Path(gateway.__file__).parents[1]))

T = TypeVar("T")


class Border:
    """Documents in, `model/` out; every method raises what the worker found wrong."""

    def __init__(self, directory: Path, *, worker: Sequence[str] = WORKER, timeout_s: float = TIMEOUT_S) -> None:
        """`directory` is that of the remembered verdicts (`Paths.trust`)."""
        self._verdicts = Verdicts(directory)
        self._worker = tuple(worker)
        self._timeout_s = timeout_s
        self._one_at_a_time = asyncio.Lock()

    async def profile(self, path: Path, text: bytes) -> Profile:
        """The firmware profile in `text`; `path` is for messages only."""
        return await self._remembered("profile", Profile, text, name=str(path))

    async def config(self, path: Path, text: bytes) -> Config:
        """The settings in `text`; `path` is for messages only."""
        return await self._remembered("config", Config, text, name=str(path))

    async def enrolment(self, text: bytes) -> Enrolment:
        """The enrolment, its keys document verified."""
        return await self._remembered("enrolment", Enrolment, text)

    async def keys(self, current: Keys, message: bytes) -> Keys:
        """The newest keys document of a chain of successors; `current` itself when there is nothing newer."""
        return await self._ask("keys", Keys, message, current=to_wire(current))

    async def desired(self, envelope: bytes, expected: Expected) -> AcceptedDesired:
        """The signed desired state, within the caps of its authority and of this board."""
        accepted = await self._ask("desired", AcceptedDesired, envelope, expected=to_wire(expected))
        check_caps(accepted.desired, expected)
        return accepted

    async def operation(self, envelope: bytes, expected: Sequence[Expected]) -> AcceptedOperation:
        """The signed operation; `expected`: of every authority that may ask for anything."""
        return await self._ask(
            "operation", AcceptedOperation, envelope, expected=[to_wire(entry) for entry in expected]
        )

    async def _remembered(self, kind: str, model: type[T], text: bytes, **parameters: Any) -> T:
        known = await asyncio.to_thread(self._verdicts.find, kind, model, text)
        if known is not None:
            return known
        value = await self._ask(kind, model, text, **parameters)
        await asyncio.to_thread(self._verdicts.remember, kind, value, text)
        return value

    async def _ask(self, kind: str, model: type[T], document: bytes, **parameters: Any) -> T:
        if len(document) > MAX_DOCUMENT_BYTES:
            raise InvalidInput(f"cannot read {kind}: {len(document)} bytes are more than {MAX_DOCUMENT_BYTES}")
        encoded = base64.b64encode(document).decode()
        request = canonical({"kind": kind, "document": encoded, **parameters})
        async with self._one_at_a_time:
            finished = await self._run(kind, request)
        return _value(kind, model, finished)

    async def _run(self, kind: str, request: bytes) -> Finished:
        try:
            finished = await run_tool(
                self._worker,
                timeout_s=self._timeout_s,
                stdin=request,
                environment={"LANG": "C.UTF-8"},
                check=False,
                max_output_bytes=MAX_VERDICT_BYTES,
            )
        except TimedOut:
            raise Corrupted(f"cannot judge {kind}: no verdict within {self._timeout_s:g} s") from None
        if finished.exit_code != 0:
            last = finished.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            log.warning("border worker failed kind=%s exit_code=%d said=%s", kind, finished.exit_code, last[0][:500])
            raise Corrupted(f"cannot judge {kind}: the worker ended with exit code {finished.exit_code}")
        return finished


def _value(kind: str, model: type[T], finished: Finished) -> T:
    """The value in a verdict; raises the error in it. The worker read hostile bytes, so its word is checked, too."""
    try:
        verdict = json.loads(finished.stdout)
        error = from_json(verdict["error"]) if "error" in verdict else None
        value = None if error else from_wire(model, verdict["ok"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, FieldgateError) as failure:
        raise Corrupted(f"cannot judge {kind}: the worker's verdict is not one: {str(failure)[:200]}") from failure
    if error is not None:
        raise error
    assert value is not None
    return value
