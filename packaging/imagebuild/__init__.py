"""Builds images for the demo, the tests and small build machines: an APP base image and APP layers on top of one.

Reproducible (same input, same digest), without a container daemon, standard library only. Not part of the agent; the
program `packaging/image` runs it. What `docker build` makes of the same Containerfile serves the gateway as well.
"""

from __future__ import annotations

SOURCE_DATE_EPOCH = 1_760_000_000
"""Seconds; the time that every file of an image gets, unless the environment's SOURCE_DATE_EPOCH says otherwise."""


class BuildError(Exception):
    """`cannot <verb> <object>: <cause>`; ends the program with status 1."""
