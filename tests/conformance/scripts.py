"""What the shell scripts of the conformance suite do, told to the simulated engine, which has no shell."""

from __future__ import annotations

from typing import Final

from gateway.engines.base import ContainerSpec, ExecResult
from gateway.engines.simulated.behaviour import Behaviour

_COMMANDS: Final = {
    ("sh", "-c", "echo out; echo err >&2; exit 7"): ExecResult(7, b"out\nerr\n"),
    ("sleep", "987"): None,
}
_SCRIPTS: Final = {
    "trap 'exit 3' TERM; while :; do sleep 0.1; done": Behaviour(signals={"SIGTERM": 3}),
    "trap '' TERM; while :; do sleep 0.1; done": Behaviour(signals={"SIGTERM": None}),
    "exit 42": Behaviour(runs_s=0, exit_code=42),
    "exec dd if=/dev/zero of=/dev/null bs=200M": Behaviour(runs_s=0, oom_killed=True),
    "echo out; echo err >&2": Behaviour(runs_s=0, output=(("stdout", "out"), ("stderr", "err"))),
    "trap 'exit 5' TERM; while :; do sleep 0.1; done": Behaviour(signals={"SIGTERM": 5}),
}


def behaviour(spec: ContainerSpec) -> Behaviour:
    """KeyError for a script that is not known here: a test that the simulated engine was not told about."""
    return _SCRIPTS[spec.command[-1]] if spec.command else Behaviour(commands=_COMMANDS)
