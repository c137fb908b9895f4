"""A program on a terminal inside a container, on the engines that offer it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from gateway.engines.base import ContainerSpec, Engine, Terminal, TerminalEngine
from gateway.errors import NotFound, ToolFailed
from tests.conformance.conftest import How
from tests.conformance.rootfs import IMAGE, BusyboxImage

pytestmark = pytest.mark.kernel
SPEC = ContainerSpec("app", "main", 1, "sha256:1", IMAGE, command=("sleep", "1000"))
Scenario = Callable[[Engine, TerminalEngine], Awaitable[None]]


@pytest.fixture
def run(how: How, image: BusyboxImage) -> Iterator[Callable[[Scenario], None]]:
    """Run a scenario beside one running container."""
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))

    def runner(scenario: Scenario) -> None:
        async def main() -> None:
            engine = how(directory, image)()
            await engine.prepare()
            try:
                await engine.create(SPEC)
                await engine.start(SPEC.id)
                assert isinstance(engine, TerminalEngine)
                async with asyncio.timeout(30):
                    await scenario(engine, engine)
            finally:
                await engine.teardown()

        asyncio.run(main())

    yield runner
    shutil.rmtree(directory)


async def said(terminal: Terminal, wanted: bytes) -> bytes:
    """Read until `wanted` was printed, or until the end."""
    printed = b""
    while wanted not in printed and (more := await terminal.read()):
        printed += more
    return printed


def test_a_shell_has_a_terminal_of_the_size_that_its_window_has(run: Callable[[Scenario], None]) -> None:
    async def scenario(_: Engine, terminals: TerminalEngine) -> None:
        terminal = await terminals.open_terminal(SPEC.id, ["sh"], 33, 101, "vt100")
        try:
            await terminal.write(b"tty; echo $TERM; stty size; echo one-$((1 + 1))\n")
            first = await said(terminal, b"one-2")
            assert b"/dev/pts/" in first
            assert b"vt100" in first
            assert b"33 101" in first
            terminal.resize(40, 120)
            await terminal.write(b"sleep 0.2; stty size; echo two-$((1 + 1))\n")
            assert b"40 120" in await said(terminal, b"two-2")
            await terminal.write(b"exit 7\n")
            await said(terminal, b"nothing more")
            assert await terminal.wait() == 7
        finally:
            await terminal.close()

    run(scenario)


def test_closing_it_kills_what_runs_on_it(run: Callable[[Scenario], None]) -> None:
    async def scenario(engine: Engine, terminals: TerminalEngine) -> None:
        terminal = await terminals.open_terminal(SPEC.id, ["sh", "-c", "trap '' HUP TERM; echo up; sleep 987"], 24, 80)
        assert b"up" in await said(terminal, b"up")
        await terminal.close()
        await asyncio.sleep(0.2)
        running = await engine.exec(SPEC.id, ["sh", "-c", "cat /proc/[0-9]*/cmdline"], 5.0)
        assert b"trap" not in running.output
        assert b"sleep\x00987" not in running.output

    run(scenario)


def test_a_program_that_is_not_there(run: Callable[[Scenario], None]) -> None:
    async def attempt(terminals: TerminalEngine) -> str:
        # crun says it before there is a terminal, runc and lxc on it.
        try:
            terminal = await terminals.open_terminal(SPEC.id, ["/no/such/program"], 24, 80)
        except ToolFailed as failure:
            return str(failure)
        try:
            printed = await said(terminal, b"nothing more")
            assert await terminal.wait() != 0
            return printed.decode()
        finally:
            await terminal.close()

    async def scenario(_: Engine, terminals: TerminalEngine) -> None:
        assert "/no/such/program" in await attempt(terminals)

    run(scenario)


def test_a_container_that_is_not_there(run: Callable[[Scenario], None]) -> None:
    async def scenario(_: Engine, terminals: TerminalEngine) -> None:
        with pytest.raises(NotFound):
            await terminals.open_terminal("app.main.9", ["sh"], 24, 80)

    run(scenario)
