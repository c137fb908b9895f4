"""`python -m tests.demo [--json FILE]`, as root: 0 when every step was seen, 1 when one was not, 130 after Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from tests.demo import telling
from tests.demo.stage import Stage
from tests.demo.story import STEPS


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description="The main job of Fieldgate, end to end, on real parts.")
    parser.add_argument("--json", type=Path, help="also write one record per step to this file")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("demo: cannot run containers as this user: run it as root", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, _interrupt)
    if options.json:
        options.json.unlink(missing_ok=True)  # that of an earlier run tells nothing of this one
    began, records, stage = time.monotonic(), [], Stage()
    try:
        with stage:
            for number, (title, run) in enumerate(STEPS, 1):
                records.append(telling.perform(number, len(STEPS), title, lambda run=run: run(stage)))  # type: ignore[misc]
                if not records[-1].ok:
                    _why(stage)
                    break
            telling.say("clearing the stage ...")
    except KeyboardInterrupt:
        left = stage.leftovers()
        ending = f"left behind: {', '.join(left)}" if left else "the stage is cleared"
        print(f"\ndemo: interrupted; {ending}", file=sys.stderr)
        return 130
    left = stage.leftovers()
    telling.table(records)
    if options.json:
        telling.write(records, options.json)
    ok = len(records) == len(STEPS) and all(record.ok for record in records) and not left
    print(f"\n{_ending(records, left)} in {time.monotonic() - began:.0f} s")
    return 0 if ok else 1


def _ending(records: list[telling.Record], left: list[str]) -> str:
    if left:
        return f"demo: left behind: {', '.join(left)};"
    failed = [record for record in records if not record.ok]
    if failed:
        return f"demo: failed at: {failed[0].step}: {failed[0].seen};"
    return "All steps were seen; nothing is left running, nothing mounted;"


def _why(stage: Stage) -> None:
    """The ends of the logs: what a developer asks for first."""
    for name in ("gateway", "cloud", "broker"):
        part = getattr(stage, name, None)
        if part is not None:
            print(f"--- the end of the log: {name}\n{part.tail(12)}", file=sys.stderr)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
