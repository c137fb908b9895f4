"""May this container do that: pure decisions on its grant. A refusal names the manifest key that would allow it."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.errors import NotPermitted
from gateway.model.app import Grant
from gateway.model.names import tag_matches


def _refuse(what: str, key: str) -> NotPermitted:
    return NotPermitted(f"cannot {what}: the APP's manifest does not grant it", hint=f"x-esdk.{key} would allow it")


def may_transact(grant: Grant, port: str) -> None:
    if port not in grant.serial:
        raise _refuse(f"use serial port {port}", f"serial.{port}: transact")


def may_read_line(grant: Grant, line: str) -> None:
    if line not in grant.gpio:
        raise _refuse(f"read line {line}", f"gpio.{line}: read")


def may_set_line(grant: Grant, line: str) -> None:
    if grant.gpio.get(line) != "write":
        raise _refuse(f"set line {line}", f"gpio.{line}: write")


def may_publish(grant: Grant, tags: Iterable[str]) -> None:
    for tag in tags:
        if not any(tag_matches(pattern, tag) for pattern in grant.publish):
            raise _refuse(f"publish tag {tag}", f"tags.publish: [{tag}]")


def may_know(grant: Grant, topic: str) -> None:
    if topic not in grant.system:
        raise _refuse(f"read the system's {topic}", f"system: [{topic}]")


def readable(grant: Grant, wanted: str) -> tuple[str, ...]:
    """The patterns under `wanted` that this grant may read: the wanted one if it is covered, or the granted ones below.

    What may be published may be read. Refused when nothing under `wanted` may be.
    """
    granted = (*grant.read, *grant.publish)
    if any(_covers(pattern, wanted) for pattern in granted):
        return (wanted,)
    below = tuple(pattern for pattern in granted if _covers(wanted, pattern))
    if not below:
        raise _refuse(f"read tags {wanted}", f"tags.read: [{wanted}]")
    return below


def _covers(pattern: str, other: str) -> bool:
    """Whether every tag under `other` falls under `pattern`; both may hold wildcards."""
    mine, theirs = pattern.split("/"), other.split("/")
    for index, level in enumerate(mine):
        if level == "#":
            return True
        if index >= len(theirs) or theirs[index] == "#":
            return False
        if level not in ("+", theirs[index]):
            return False
    return len(mine) == len(theirs)
