"""Errors by who must act: the one vocabulary of API answers, reports to the cloud and CLI exit codes.

Every error a user can meet is one of these. A message reads `cannot <verb> <object>: <cause>`; a hint follows where a
person can do something about it. A document with several faults carries all of them as `problems`, each with its path.

Does not log and knows no transport: `esdk_server/`, `admin_api/`, `cloud_link/` and `cli/` map `code`, `http_status`
and `exit_code` to their own form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a document: `path` is where (`services.reader.ports[0]`), `message` what is wrong there."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class FieldgateError(Exception):
    """Base of all errors below. Raise a subclass."""

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, hint: str = "", problems: Iterable[Problem] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.problems = tuple(problems)

    def __str__(self) -> str:
        lines = [self.message, *(f"  {problem}" for problem in self.problems)]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The body of an error answer: `{"code", "message", "hint"?, "problems"?: [{"path", "message"}]}`."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.hint:
            body["hint"] = self.hint
        if self.problems:
            body["problems"] = [{"path": p.path, "message": p.message} for p in self.problems]
        return body


class InvalidInput(FieldgateError):
    """The caller's document or value is wrong; sending it again changes nothing."""

    code, http_status, exit_code = "invalid_input", 400, 65


class NotFound(FieldgateError):
    """The named thing does not exist."""

    code, http_status, exit_code = "not_found", 404, 66


class Conflict(FieldgateError):
    """It exists already, belongs to somebody else, or is in a state that does not allow this."""

    code, http_status, exit_code = "conflict", 409, 73


class NotPermitted(FieldgateError):
    """The caller may not; the message names the key that would allow it."""

    code, http_status, exit_code = "not_permitted", 403, 77


class NotSupported(FieldgateError):
    """This board, kernel or version cannot do it."""

    code, http_status, exit_code = "not_supported", 501, 69


class Unavailable(FieldgateError):
    """It cannot be done now; trying again later may work."""

    code, http_status, exit_code = "unavailable", 503, 75


class Exhausted(Unavailable):
    """Memory or disk of this board are taken: trying again helps once something else has let go of some."""


class TimedOut(FieldgateError):
    """Nothing answered in time."""

    code, http_status, exit_code = "timed_out", 504, 75


class Corrupted(FieldgateError):
    """Stored or received bytes are not what their digest, schema or signature says."""

    code, http_status, exit_code = "corrupted", 500, 74


class ToolFailed(FieldgateError):
    """A program that we ran failed; keeps its argv, exit code and the end of its stderr."""

    code, http_status, exit_code = "tool_failed", 500, 71

    def __init__(self, argv: Iterable[str], exit_code: int, stderr: str, *, hint: str = "") -> None:
        self.argv = tuple(argv)
        self.tool_exit_code = exit_code
        self.stderr = stderr.strip()[-2000:]
        cause = self.stderr.splitlines()[-1] if self.stderr else "it said nothing"
        super().__init__(f"cannot run {self.argv[0]}: exit code {exit_code}: {cause}", hint=hint)


_BY_CODE: Mapping[str, type[FieldgateError]] = {
    kind.code: kind
    for kind in (InvalidInput, NotFound, Conflict, NotPermitted, NotSupported, Unavailable, TimedOut, Corrupted)
}


def from_json(body: Mapping[str, Any]) -> FieldgateError:
    """The error that `to_json` described; an unknown code (a newer peer) becomes the base class."""
    problems = [Problem(str(p.get("path", "")), str(p.get("message", ""))) for p in body.get("problems", [])]
    kind = _BY_CODE.get(str(body.get("code")), FieldgateError)
    return kind(str(body.get("message", "no message")), hint=str(body.get("hint", "")), problems=problems)
