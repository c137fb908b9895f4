"""What the gateway may answer instead of doing it. `str()` is for people; `code` and `hint` are the gateway's."""

from __future__ import annotations

from typing import Any, Dict, List, Type


class EsdkError(Exception):
    """Base of all errors of this library. `problems`: list of {"path", "message"} when a request had several faults."""

    code = "internal"

    def __init__(self, message: str, hint: str = "", problems: Any = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.problems: List[Dict[str, str]] = list(problems)

    def __str__(self) -> str:
        lines = [self.message]
        lines += ["  {}: {}".format(p.get("path", ""), p.get("message", "")) for p in self.problems]
        if self.hint:
            lines.append("  hint: " + self.hint)
        return "\n".join(lines)


class InvalidInput(EsdkError):
    """The request is wrong; sending it again changes nothing."""

    code = "invalid_input"


class NotPermitted(EsdkError):
    """The APP's manifest does not grant it; `hint` names the key that would."""

    code = "not_permitted"


class NotFound(EsdkError):
    """There is no such port, line or call."""

    code = "not_found"


class Conflict(EsdkError):
    code = "conflict"


class TimedOut(EsdkError):
    """The device did not answer in time."""

    code = "timed_out"


class Unavailable(EsdkError):
    """Not now: the agent is away, or the device is. Try again."""

    code = "unavailable"


class AgentAway(Unavailable):
    """Nobody answers on the socket: the agent is being restarted. Samples wait meanwhile (`tags.publish`)."""


class BadAnswer(EsdkError):
    """A device answered, but refused or garbled."""

    code = "corrupted"


_KINDS: Dict[str, Type[EsdkError]] = {
    kind.code: kind for kind in (InvalidInput, NotPermitted, NotFound, Conflict, TimedOut, Unavailable, BadAnswer)
}


def from_answer(body: Any) -> EsdkError:
    """The error that a gateway's answer describes."""
    if not isinstance(body, dict):
        return EsdkError("the gateway answered without a reason")
    kind = _KINDS.get(str(body.get("code")), EsdkError)
    return kind(str(body.get("message", "no message")), str(body.get("hint", "")), body.get("problems", ()))
