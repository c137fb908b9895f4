"""How a simulated container behaves, and the words by which a manifest says so. Pure.

    environment:
      FIELDGATE_SIMULATED: "after=5s exit=3 says=hello"      # runs for five seconds, then fails

Without that variable it starts, is healthy, and runs until it is stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.engines.base import ContainerSpec, ExecResult
from gateway.errors import InvalidInput

VARIABLE: Final = "FIELDGATE_SIMULATED"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a container does from its start on."""

    startable: bool = True
    healthy: bool = True
    """Whether commands inside (its health check) succeed."""
    runs_s: float | None = None
    """Ends by itself after that long; None: never."""
    exit_code: int = 0
    """Of that end."""
    oom_killed: bool = False
    """The end comes from the kernel, for want of memory: the exit code is 137."""
    signals: Mapping[str, int | None] = field(default_factory=dict)
    """Exit code by signal, None for one that it ignores. By default every signal ends it: SIGTERM well, with 0."""
    output: tuple[tuple[str, str], ...] = ()
    """(`stdout` or `stderr`, text) of the lines that it prints when it starts."""
    commands: Mapping[tuple[str, ...], ExecResult | None] = field(default_factory=dict)
    """What commands inside answer, by their arguments; None for one that never ends."""

    def end(self) -> int:
        """The exit code when it ends by itself."""
        return 137 if self.oom_killed else self.exit_code

    def exit_by(self, signal: str) -> int | None:
        """The exit code when `signal` ends it; None when it goes on."""
        if signal == "SIGKILL":
            return 137
        return self.signals.get(signal, 0)

    def answer(self, command: tuple[str, ...]) -> ExecResult | None:
        """What a command inside gives; None when it never ends."""
        if command in self.commands:
            return self.commands[command]
        return ExecResult(0, b"") if self.healthy else ExecResult(1, b"not well\n")


def behaviour_of(spec: ContainerSpec) -> Behaviour:
    """As its environment says. InvalidInput for a word that means nothing here."""
    return parse(spec.environment.get(VARIABLE, ""))


def parse(text: str) -> Behaviour:
    """`broken`, `unhealthy`, `oom`, `after=SECONDS[s]`, `exit=CODE`, `ignores=SIGNAL`, `says=WORD`, in any order."""
    behaviour = Behaviour()
    for word in text.split():
        key, equals, value = word.partition("=")
        match key, bool(equals):
            case "broken", False:
                behaviour = replace(behaviour, startable=False)
            case "unhealthy", False:
                behaviour = replace(behaviour, healthy=False)
            case "oom", False:
                behaviour = replace(behaviour, oom_killed=True, runs_s=behaviour.runs_s or 0.0)
            case "after", True:
                behaviour = replace(behaviour, runs_s=_number(word, value.removesuffix("s")))
            case "exit", True:
                code = int(_number(word, value))
                behaviour = replace(behaviour, exit_code=code, runs_s=behaviour.runs_s or 0.0)
            case "ignores", True:
                behaviour = replace(behaviour, signals={**behaviour.signals, value: None})
            case "says", True:
                behaviour = replace(behaviour, output=(*behaviour.output, ("stdout", value)))
            case _:
                raise InvalidInput(f"cannot simulate {word!r} ({VARIABLE}): no such word")
    return behaviour


def _number(word: str, text: str) -> float:
    if not text.replace(".", "", 1).isdecimal():
        raise InvalidInput(f"cannot simulate {word!r} ({VARIABLE}): not a number")
    return float(text)
