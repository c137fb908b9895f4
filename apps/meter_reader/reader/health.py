"""The health check: `python3 -m reader.health` ends with 0, or with 1 and the reason.

Healthy means: the loop turns, and the gateway takes what it publishes. A meter that does not answer is not a reason to
restart the reader (its tags say so by their quality), nor is an agent that is away for a while: the samples wait.
Imports next to nothing, since it is started a dozen times a minute on a small board.
"""

import json
import os
import sys
import time

PATH = os.environ.get("READER_HEARTBEAT", "/tmp/meter-reader.json")
LOOP_PATIENCE_S = 15.0
"""Longer than the longest wait in one turn of the loop."""
GATEWAY_PATIENCE_S = 90.0
"""How long the gateway may take nothing, once it has taken something."""


def beat(published_at: float, trouble: str, path: str = PATH) -> None:
    """Called on every turn. `published_at`: monotonic time of the last sample that the gateway took, 0 for none yet."""
    text = json.dumps({"turned": time.monotonic(), "published": published_at, "trouble": trouble})
    with open(path + ".new", "w") as file:
        file.write(text)
    os.replace(path + ".new", path)


def verdict(path: str = PATH) -> str:
    """Empty, or why the reader is not well. Monotonic time is the same for all processes of a machine."""
    now = time.monotonic()
    try:
        with open(path) as file:
            state = json.load(file)
        turned, published, trouble = float(state["turned"]), float(state["published"]), str(state["trouble"])
    except (OSError, ValueError, KeyError, TypeError) as failure:
        return "no heartbeat: {}".format(failure)
    because = ": " + trouble if trouble else ""
    if now - turned > LOOP_PATIENCE_S:
        return "the loop has been standing for {:.0f} s{}".format(now - turned, because)
    if not published:
        return "nothing published yet" + because
    if now - published > GATEWAY_PATIENCE_S:
        return "the gateway has taken nothing for {:.0f} s{}".format(now - published, because)
    return ""


if __name__ == "__main__":
    reason = verdict()
    if reason:
        print(reason)
    sys.exit(1 if reason else 0)
