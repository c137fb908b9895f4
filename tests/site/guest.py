"""What all guests have in common: a machine as a process with a console in a file, ended with all that it started.

`uml.py` and `arm64.py` make the machines; `suite.py` runs tests in them.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import TimedOut, Unavailable

ROOT: Final = Path(__file__).resolve().parents[2]
"""Of this tree, which every guest sees."""

BY_HAND_S: Final = 3600.0

RunInside = Callable[[str, float], bytes]
"""Boot, run Python with these arguments (shell words), power off; what that wrote as its result."""


@dataclass(frozen=True, slots=True)
class Machine:
    """`name` is for messages; the guest writes its result into `result`."""

    name: str
    argv: Sequence[str]
    console: Path
    result: Path
    environment: Mapping[str, str]

    def run(self, output: Path, timeout_s: float, beside: AbstractContextManager[object] | None = None) -> bytes:
        """Until it powers off; the result. `output` takes what the machine itself says, which may be its console.

        `beside` is what runs as long as the machine does. TimedOut when it does not power off in time; Unavailable when
        it does so without a result. Both with the end of the console.
        """
        with output.open("wb") as file:
            process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
            try:
                with beside or nullcontext():
                    process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                raise TimedOut(f"cannot finish on {self.name}: not after {timeout_s:g} s\n{self._tail()}") from None
            finally:
                # Processes of User-mode Linux are processes here, in one group.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        try:
            return self.result.read_bytes()
        except OSError:
            said = output.read_text(errors="replace").strip()[-2000:] if output != self.console else ""
            raise Unavailable(f"cannot run on {self.name}: no result\n{said}\n{self._tail()}") from None

    def _tail(self, lines: int = 40) -> str:
        if not self.console.is_file():
            return "no console"
        return "\n".join(self.console.read_text(errors="replace").splitlines()[-lines:])


def by_hand(run_inside: Callable[[str, float, Path], bytes], result: str) -> int:
    """`python -m tests.site.GUEST ARGUMENTS`: run Python with them in there, its console is our output."""
    run_inside(f"{shlex.join(sys.argv[1:])}; echo >{result}", BY_HAND_S, Path(f"/proc/{os.getpid()}/fd/1"))
    return 0
