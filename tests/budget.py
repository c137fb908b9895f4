"""Run a command and fail when it takes longer than its budget: `budget.py SECONDS COMMAND...`."""

from __future__ import annotations

import subprocess
import sys
import time


def main() -> int:
    budget_s, command = float(sys.argv[1]), sys.argv[2:]
    started = time.monotonic()
    exit_code = subprocess.call(command)
    taken_s = time.monotonic() - started
    print(f"budget: {taken_s:.0f} s of {budget_s:.0f} s", flush=True)
    if exit_code == 0 and taken_s > budget_s:
        print(f"budget: over by {taken_s - budget_s:.0f} s", file=sys.stderr)
        return 1
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
