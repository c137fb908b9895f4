"""What the runtime is told about seccomp: for crun the default profile as a ready BPF program, otherwise as JSON.

A program depends on the profile, the capabilities, the architecture and the kernel; it is compiled once and kept in
`cache`. Everything that goes wrong on this way ends in the JSON form, with one line in the log: slower, never weaker.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway.engines.oci import seccomp
from gateway.engines.oci.seccomp_bpf import LIBRARY, MAX_PROGRAM_BYTES, compile_filter
from gateway.errors import FieldgateError, NotSupported
from gateway.model.wire import canonical

log = logging.getLogger(__name__)

ANNOTATION: Final = "run.oci.seccomp_bpf_data"
TOKEN: Final = {"defaultAction": "SCMP_ACT_KILL_PROCESS"}
"""`linux.seccomp` beside the annotation, which makes crun ignore it. One that did not know the annotation would run
nothing at all with this, rather than run it without a filter."""
MAX_CACHED: Final = 16
"""Programs kept, in memory and on disk: sets of capabilities that APPs of one board use."""
_DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Told:
    """`section` is `linux.seccomp`. `program` is empty where the runtime is to compile that itself."""

    section: dict[str, Any]
    annotations: dict[str, str] = field(default_factory=dict)
    program: bytes = b""


class Filters:
    """`precompiled` where the runtime takes a program (crun)."""

    def __init__(self, cache: Path, *, precompiled: bool, library: str = LIBRARY) -> None:
        self._cache = cache
        self._precompiled = precompiled
        self._library = library
        self._told: dict[tuple[str, ...], Told] = {}

    def known(self, capabilities: Collection[str]) -> Told | None:
        """What `tell` would say, if that takes no time."""
        return self._told.get(tuple(sorted(capabilities)))

    def tell(self, capabilities: Collection[str]) -> Told:
        """For a process with these capabilities. Blocks for as long as it takes to compile: run it in a thread."""
        told = self.known(capabilities) or self._told_afresh(capabilities)
        if len(self._told) >= MAX_CACHED:
            self._told.clear()
        self._told[tuple(sorted(capabilities))] = told
        return told

    def check_taken(self, told: Told, state: Path) -> None:
        """After the creation of a container with `state` as its directory at crun: NotSupported if it has another."""
        taken = b""
        with contextlib.suppress(OSError):
            taken = (state / "seccomp.bpf").read_bytes()
        if told.program and taken != told.program:
            raise NotSupported("cannot use the precompiled seccomp filter: the runtime did not take it")

    def give_up(self, cause: FieldgateError) -> None:
        """From now on JSON."""
        if self._precompiled:
            log.warning("seccomp is compiled at every start cause=%s", cause.message)
        self._precompiled = False
        self._told.clear()

    def _told_afresh(self, capabilities: Collection[str]) -> Told:
        system = os.uname()
        major, minor = system.release.split(".")[:2]
        kernel = (int(major), int(minor.split("-")[0]))
        rules = seccomp.resolve(seccomp.load_default(), capabilities, system.machine, kernel)
        if self._precompiled:
            try:
                program = self._program(rules)
            except FieldgateError as failure:
                self.give_up(failure)
            else:
                return Told(TOKEN, {ANNOTATION: base64.b64encode(program).decode()}, program)
        return Told(rules)

    def _program(self, rules: dict[str, Any]) -> bytes:
        key = canonical([rules, os.uname().machine, os.uname().release])
        path = self._cache / f"{hashlib.sha256(key).hexdigest()}.bpf"
        if program := _read(path):
            return program
        program = compile_filter(rules, self._library)
        log.info("seccomp profile compiled bytes=%d", len(program))
        try:
            self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, program)
            self._prune()
        except OSError as failure:  # the disk is full: the next agent compiles again
            log.warning("seccomp program not kept cause=%s", failure)
        return program

    def _prune(self) -> None:
        entries = sorted(self._cache.glob("*.bpf"), key=lambda entry: entry.stat().st_mtime, reverse=True)
        for entry in entries[MAX_CACHED:]:
            entry.unlink(missing_ok=True)


def _write(path: Path, program: bytes) -> None:
    """Its digest first. No fsync: what a power cut damages is seen by the digest and compiled again."""
    temporary = path.with_suffix(".new")
    temporary.write_bytes(hashlib.sha256(program).digest() + program)
    temporary.rename(path)


def _read(path: Path) -> bytes:
    """Empty when there is none, or it is damaged."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        data = file.read(_DIGEST_BYTES + MAX_PROGRAM_BYTES + 1)
        program = data[_DIGEST_BYTES:]
        if program and len(program) % 8 == 0 and hashlib.sha256(program).digest() == data[:_DIGEST_BYTES]:
            return program
    return b""
