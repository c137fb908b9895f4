"""The default seccomp profile: as a precompiled program (crun), as JSON (runc, or a crun that takes no program).

Whatever the form, the same calls are refused in the same way.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.engines.base import ContainerSpec, ContainerState, Mount
from gateway.engines.oci import seccomp_filter
from gateway.engines.oci.engine import OciEngine
from gateway.engines.oci.options import OciOptions
from gateway.engines.process import capabilities_of
from tests.conformance.conftest import LOG_BYTES
from tests.conformance.rootfs import IMAGE, BusyboxImage

# (call, its number here, arguments, errno with the filter): the kernel itself would give EBADF to the first and do the
# other two.
VMSPLICE, PERSONALITY, SOCKET = {"x86_64": (278, 135, 41), "aarch64": (75, 92, 198)}[os.uname().machine]
CALLS = (
    (VMSPLICE, "-1, 0, 0, 0", errno.EPERM),
    (PERSONALITY, "0x40000", errno.ENOSYS),
    (SOCKET, "16, 3, 9", errno.EINVAL),
)
PERL = "; ".join(f'print syscall({number}, {arguments}) < 0 ? $!+0 : "fine", "\\n"' for number, arguments, _ in CALLS)
ASK = f"grep Seccomp /proc/self/status; /usr/bin/perl -e '{PERL}'"
HOST = tuple(
    Mount(Path(name).resolve(), name, read_only=True) for name in ("/usr", "/lib", "/lib64") if Path(name).exists()
)
"""busybox can make no call by its number; the host's perl can."""
SPEC = ContainerSpec("app", "main", 1, "sha256:1", IMAGE, command=("sh", "-c", f"exec 2>&1; {ASK}"), mounts=HOST)
SAID = ["Seccomp:\t2", "Seccomp_filters:\t1", *(str(number) for _, _, number in CALLS)]


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fg-", dir="/run") as name:
        yield Path(name)


def ask(engine: OciEngine, spec: ContainerSpec = SPEC) -> list[str]:
    """What ASK said, run as the main process."""

    async def main() -> list[str]:
        await engine.prepare()
        try:
            await engine.create(spec)
            await engine.start(spec.id)
            async with asyncio.timeout(20):
                async for _ in engine.exits():
                    if (await engine.list())[0].state is ContainerState.EXITED:
                        break
            return [line.text async for line in engine.logs(spec.id, tail=20, follow=False)]
        finally:
            await engine.teardown()

    return asyncio.run(main())


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_the_filter_is_on_in_either_form(
    runtime: str, directory: Path, image: BusyboxImage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    engine = OciEngine(directory / "engine", image, [runtime], LOG_BYTES, OciOptions(cache=directory / "cache"))
    assert ask(engine) == SAID
    kept = list((directory / "cache").glob("*.bpf"))
    assert len(kept) == (1 if runtime == "crun" else 0)
    assert ("seccomp profile compiled" in caplog.text) == (runtime == "crun")
    caplog.clear()
    again = OciEngine(directory / "engine", image, [runtime], LOG_BYTES, OciOptions(cache=directory / "cache"))
    assert ask(again) == SAID
    assert "compiled" not in caplog.text, "the next agent finds it"


def test_a_damaged_program_is_compiled_again(directory: Path, image: BusyboxImage) -> None:
    options = OciOptions(cache=directory / "cache")
    assert ask(OciEngine(directory / "engine", image, ["crun"], LOG_BYTES, options)) == SAID
    (kept,) = (directory / "cache").glob("*.bpf")
    sound = kept.read_bytes()
    for damage in (b"", sound[:-8], sound[:40] + b"\0" * 8 + sound[48:]):
        kept.write_bytes(damage)
        assert ask(OciEngine(directory / "engine", image, ["crun"], LOG_BYTES, options)) == SAID
        assert kept.read_bytes() == sound


def test_the_program_is_what_crun_would_make_of_the_profile(directory: Path, image: BusyboxImage) -> None:
    filters = seccomp_filter.Filters(directory / "cache", precompiled=True)
    program = filters.tell(capabilities_of(SPEC)).program
    engine = OciEngine(directory / "engine", image, ["crun"], LOG_BYTES)
    engine._filters = seccomp_filter.Filters(directory / "cache", precompiled=False)

    async def main() -> bytes:
        await engine.prepare()
        try:
            await engine.create(SPEC)
            return (directory / "engine" / "runtime" / SPEC.id / "seccomp.bpf").read_bytes()
        finally:
            await engine.teardown()

    assert len(program) > 1000
    assert asyncio.run(main()) == program


def test_an_exec_has_the_filter_too(directory: Path, image: BusyboxImage) -> None:
    engine = OciEngine(directory / "engine", image, ["crun"], LOG_BYTES)

    async def main() -> bytes:
        await engine.prepare()
        try:
            await engine.create(replace(SPEC, command=()))
            await engine.start(SPEC.id)
            return (await engine.exec(SPEC.id, ["sh", "-c", ASK], 10.0)).output
        finally:
            await engine.teardown()

    assert asyncio.run(main()).decode().splitlines() == SAID


# A crun of another version, as it were: it wants the same, but does not know the annotation, or refuses it.
IGNORES = "sed -i s/{annotation}/run.oci.ignored/ $bundle/config.json"
REFUSES = "grep -q {annotation} $bundle/config.json && { echo 'seccomp: invalid argument' >&2; exit 1; }"
SCRIPT = """\
#!/bin/sh
bundle=$(echo "$*" | sed 's/.*--bundle \\([^ ]*\\).*/\\1/')
case "$*" in *create*) {trick} ;; esac
exec /usr/bin/crun "$@"
"""


@pytest.mark.parametrize("trick", [IGNORES, REFUSES])
def test_a_crun_that_does_not_take_the_program_gets_the_profile(
    trick: str, directory: Path, image: BusyboxImage, caplog: pytest.LogCaptureFixture
) -> None:
    other = directory / "crun"
    other.write_text(SCRIPT.replace("{trick}", trick).replace("{annotation}", seccomp_filter.ANNOTATION))
    other.chmod(0o755)
    assert ask(OciEngine(directory / "engine", image, [str(other)], LOG_BYTES)) == SAID
    told = [record for record in caplog.records if "compiled at every start" in record.getMessage()]
    assert len(told) == 1


def test_without_libseccomp_the_runtime_compiles(
    directory: Path, image: BusyboxImage, caplog: pytest.LogCaptureFixture
) -> None:
    engine = OciEngine(directory / "engine", image, ["crun"], LOG_BYTES)
    engine._filters = seccomp_filter.Filters(directory / "cache", precompiled=True, library="libnone.so.9")
    assert ask(engine) == SAID
    assert "libnone.so.9" in caplog.text
    assert os.listdir(directory) == ["engine"]
