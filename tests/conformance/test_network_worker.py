"""The worker's two tools on the kernel: rules as text, by library and by program; and a worker that dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from gateway.errors import FieldgateError, ToolFailed
from gateway.model.profile import NetworkRange
from gateway.network import nftables
from gateway.network.caller import WorkerCaller
from gateway.network.layout import Layout, Link
from gateway.network.ruleset import change, contents, removal, table
from tests.site.networks import Site
from tests.unit.network.links import is_possible, links

LAYOUT = Layout(NetworkRange(), "w1")
ADDRESSES = {"one.test": ("192.0.2.9", "2001:db8::9"), "two.test": ()}


@pytest.fixture
def rules() -> Iterator[nftables.Nftables]:
    with Site(), contextlib.closing(nftables.open_nftables()) as opened:
        yield opened


def listed(rules: nftables.Nftables) -> list[str]:
    """The table's sets and chains, in order: chains stand as they came."""
    text = nftables.normalised(rules.run(f"list table inet {LAYOUT.table}\n"))
    return sorted(text.removesuffix("\n}\n").split("\n\n"))


@settings(max_examples=15, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(before=links().filter(is_possible), after=links().filter(is_possible))
def test_the_kernel_has_after_a_change_what_it_has_of_the_whole(
    rules: nftables.Nftables, before: dict[str, Link], after: dict[str, Link]
) -> None:
    present, wanted = (contents(LAYOUT, made, ADDRESSES, {}) for made in (before, after))
    rules.run(table(LAYOUT, present, ["ipv4"]))
    rules.run(change(LAYOUT, present, wanted))
    changed = listed(rules)
    rules.run(table(LAYOUT, wanted, ["ipv4"]))
    assert changed == listed(rules)


def test_the_program_does_what_the_library_does(rules: nftables.Nftables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nftables, "LIBRARY", "libnftables.so.none")
    program = nftables.open_nftables()
    assert type(program) is not type(rules)
    program.run(table(LAYOUT, contents(LAYOUT, {}, {}, {})))
    assert listed(program) == listed(rules)
    for either in (rules, program):
        with pytest.raises(ToolFailed, match="syntax error"):
            either.run("add nonsense\n")
    rules.run(removal(LAYOUT))
    with pytest.raises(ToolFailed, match="No such file"):
        program.run(f"list table inet {LAYOUT.table}\n")


@pytest.mark.usefixtures("rules")
def test_a_worker_that_died_is_started_again() -> None:
    wire = {"name": "fgw1-2", "pin": "/none/such/pin", "ipv4": "10.0.0.2", "gateway4": "10.0.0.1"}

    async def main() -> None:
        caller = WorkerCaller()
        try:
            await caller.start()
            first = caller.pid
            await caller.ask({"do": "forward", "families": ["ipv4"], "on": False})
            os.kill(first, signal.SIGKILL)
            assert await caller.ask({"do": "forward", "families": ["ipv4"], "on": True}) == [["ipv4"]]
            assert caller.pid not in (0, first)
            with pytest.raises(FieldgateError, match="cannot make the link fgw1-2"):
                await caller.ask({"do": "ensure", "wire": wire})
            assert await caller.ask() == []
        finally:
            await caller.close()
        assert caller.pid == 0

    asyncio.run(main())
