"""Leaks fail tests: what a test started must be gone when it ends, and what fixtures started when all have ended.

Counted (`leaks.py`) before and after every test: asyncio tasks, threads, file descriptors, processes with their
orphans, namespaces; and, for the system and conformance tests, mounts (pinned namespaces among them) and cgroups. A
short grace lets the kernel finish what was already ended.

A test that is skipped fails the run, too, unless its reason begins with `cannot run here:`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import hypothesis
import pytest

from tests import leaks

GRACE_S = 3.0
CANNOT_RUN = "cannot run here:"
"""How the reason begins for which a test may be skipped."""
HEAVY = {"system", "conformance"}
"""Directories of tests that make mounts and cgroups."""


class Counted:
    """What there is now; `left()` is what there is more, after a grace."""

    def __init__(self, probes: Mapping[str, leaks.Probe], grace_s: float) -> None:
        self._probes = probes
        self._grace_s = grace_s
        self._before = {name: probe() for name, probe in probes.items()}

    def left(self) -> dict[str, list[str]]:
        deadline = time.monotonic() + self._grace_s
        while True:
            found = {name: sorted(probe() - self._before[name]) for name, probe in self._probes.items()}
            found = {name: items for name, items in found.items() if items}
            if not found:
                return {}
            if time.monotonic() > deadline:
                if "processes" in found:
                    found["processes"] = [leaks.command_line(process) for process in found["processes"]]
                return found
            time.sleep(0.02)


class WholeRun:
    """Fails a run that leaves something behind when its last fixture has ended, or in which a test was skipped."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._skipped: list[str] = []
        self._problems: list[str] = []
        self._counted: Counted | None = None

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        heavy = any(HEAVY & set(item.path.parts) for item in session.items)
        self._counted = Counted(leaks.SYSTEM_PROBES if heavy else leaks.PROBES, self._grace_s)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note_skip(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note_skip(report)

    def _note_skip(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        if report.skipped and CANNOT_RUN not in str(report.longrepr):
            self._skipped.append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._counted is not None and (left := self._counted.left()):
            self._problems.append(f"the fixtures left behind: {left}")
        if self._skipped:
            self._problems.append(f"skipped, and nothing may be: {', '.join(self._skipped)}")
        if self._problems and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for problem in self._problems:
            terminalreporter.write_line(problem, red=True)


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs around every test. Mark a test `leaks("why")` when it must keep something beyond its end."""
    heavy = bool(HEAVY & set(request.path.parts))
    counted = Counted(leaks.SYSTEM_PROBES if heavy else leaks.PROBES, _grace_s(request.config))
    yield
    if request.node.get_closest_marker("leaks"):
        return
    left = counted.left()
    assert not left, f"the test left behind: {left}"


def _grace_s(config: pytest.Config) -> float:
    return float(config.getini("leak_grace_s"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("leak_grace_s", "seconds that what a test has ended may take to be gone", default=str(GRACE_S))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "leaks(why): the test keeps something beyond its end, for the reason given")
    leaks.install()
    # How long an example takes says more about what else runs on the machine than about the code.
    hypothesis.settings.register_profile("house", deadline=None)
    hypothesis.settings.load_profile("house")
    config.pluginmanager.register(WholeRun(_grace_s(config)), "whole-run")
