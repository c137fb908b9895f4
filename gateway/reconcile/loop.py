"""The reconciler: observes containers, has each APP planned, does one step per APP, observes again.

APPs proceed side by side: a step is a task of its own, and an APP with a step under way is left alone until it is done.
Woken by ends of containers, health, new desired states, finished steps and timers; it never polls.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from gateway.engines.base import ContainerStatus, Engine
from gateway.errors import Conflict, Exhausted, FieldgateError, NotFound, Unavailable
from gateway.lifecycle.queue import NewsQueue
from gateway.model import names
from gateway.model.app import Grant
from gateway.model.desired import Desired
from gateway.model.reports import AppRemoved, AppReport, Progress
from gateway.reconcile.bookkeeping import Bookkeeping
from gateway.reconcile.desired_store import DesiredStore
from gateway.reconcile.execute import Executor, check_memory
from gateway.reconcile.health import HealthWatch
from gateway.reconcile.leaving import Leaving
from gateway.reconcile.observer import Observer
from gateway.reconcile.orders import Orders
from gateway.reconcile.planner import plan
from gateway.reconcile.records import AppRecords
from gateway.reconcile.report import app_report
from gateway.reconcile.situation import Situation
from gateway.reconcile.steps import UNHEALTHY, Create, Forget, MarkFailed, MarkGood, Pull, Remove, Start, Step, Stop
from gateway.reconcile.view import AppView
from gateway.reconcile.volumes import purge_volumes
from gateway.reconcile.wanted import Permitted, Wanted

log = logging.getLogger(__name__)

LOOK_AGAIN_S: Final = 30.0
"""Even when nothing happens: what is not noticed by events is noticed by then."""
AFTER_ENGINE_FAILURE_S: Final = 2.0

News = AppReport | AppRemoved | Progress


class Images(Protocol):
    """`images.store.ImageStore`."""

    def has(self, image: str) -> bool: ...

    def remove_unreferenced(self, keep: frozenset[str]) -> int: ...


KeepNetworks = Callable[[Collection[tuple[str, str]], Collection[str]], None]
"""`network.Network.keep_only`. A service is (APP, service)."""


def _anything(_: Desired) -> None:
    """The profile forbids nothing."""


class Reconciler:
    """A part. `news` goes to the cloud, `grants` to the pipeline: owner (`app.service`) -> what it may do."""

    name = "reconciler"

    def __init__(
        self,
        engine: Engine,
        images: Images,
        executor: Executor,
        desired: DesiredStore,
        records: AppRecords,
        volumes: Path,
        memory_bytes: tuple[int, int],
        news: NewsQueue[News],
        permitted: Permitted = _anything,
        away: Callable[[str], str] = lambda engine: "",
        keep_networks: KeepNetworks = lambda services, busy: None,
    ) -> None:
        """`memory_bytes`: (RAM of the board, what the profile reserves of it). `away(engine)`: why it is.

        `keep_networks(services, busy)`: those of all other services may go, except of APPs that are busy with a step.
        """
        self._engine = engine
        self._executor = executor
        self._records = records
        self._volumes = volumes
        self._ram_bytes, self._reserved_bytes = memory_bytes
        self.news = news
        self.grants: NewsQueue[Mapping[str, Grant]] = NewsQueue(4)
        self._granted: dict[str, Grant] | None = None
        self._keep_networks = keep_networks
        self._wake = asyncio.Event()
        self._due: set[str] | None = None
        """APPs to be looked at in the next round; None: all."""
        self._wake_at: dict[str, float] = {}
        """When to look at an APP again, whatever happens."""
        self._looked_at_all = 0.0
        self._steps: dict[str, asyncio.Task[None]] = {}
        self._doing: dict[str, Step] = {}
        self._views: dict[str, AppView] = {}
        self._engine_error = ("", 0)
        self._health = HealthWatch(engine, self.wake)
        self._wanted = Wanted(desired, records, permitted)
        self._leaving = Leaving(engine, executor, self._wanted)
        self._observer = Observer(self._wanted, records, images, self._health, away)
        self._bookkeeping = Bookkeeping(self._wanted, records, images)
        self._reports: dict[str, AppReport] = {}
        self.orders = Orders(self._wanted, records, self.wake)

    # What the doors ask for

    def wake(self) -> None:
        """Look at all APPs again now: the desired state has changed."""
        self._due = None
        self._wake.set()

    def _look_at(self, app: str) -> None:
        """Look at this one again now."""
        if self._due is not None:
            self._due.add(app)
        self._wake.set()

    def reports(self) -> list[AppReport]:
        """The last snapshot of every APP, by name."""
        return [self._reports[name] for name in sorted(self._reports)]

    async def set_stopped(self, app: str, stopped: bool) -> str:
        """The operator's stop or start; remembered across reboots. The version that it is about.

        NotFound; NotSupported when it could not be remembered.
        """
        version = self._version(app)
        self._records.require_writable(app)
        await asyncio.to_thread(self._records.change, app, lambda record: replace(record, stopped=stopped))
        log.info("operator %s app=%s", "stopped" if stopped else "started", app)
        self._look_at(app)
        return version

    def restart(self, app: str) -> str:
        """Replace all running containers of the APP; its version. NotFound; Conflict while it is stopped."""
        version = self._version(app)
        if self._records.get(app).stopped:
            raise Conflict(f"cannot restart {app}: it is stopped", hint=f"fieldgate apps start {app}")
        report = self._reports.get(app)
        memory = self._observer.memory(app)
        memory.restart_requested.update(s.container for s in (report.services if report else ()) if s.container)
        self._look_at(app)
        return version

    def _version(self, app: str) -> str:
        return (self._wanted.target(app) or self._wanted.require(app)).version

    async def purge(self, app: str) -> None:
        """Remove the volumes of an APP that is gone.

        Conflict while it is wanted; Unavailable while it is being removed; NotFound; InvalidInput for no APP's name.
        """
        names.check(names.APP, app, "APP")  # it becomes a path
        if self._wanted.app(app) is not None:
            raise Conflict(f"cannot purge {app}: it is still deployed", hint="remove it first")
        if app in self._reports:
            raise Unavailable(f"cannot purge {app}: it is still being removed", hint="try again when it is gone")
        await purge_volumes(self._volumes, app)
        log.info("volumes purged app=%s", app)

    def owner(self, app: str) -> str:
        """The authority that wants it. NotFound."""
        self._wanted.require(app)
        return self._wanted.owner(app)[0]

    async def clean_images(self) -> None:
        """Remove the images that no APP runs or may have to go back to."""
        await self._bookkeeping.clean_images()

    def container_of(self, app: str, service: str = "") -> str:
        """The running or last container of a service (of the first one by default). NotFound."""
        report = self._reports.get(app)
        for entry in report.services if report else ():
            if entry.container and service in ("", entry.name):
                return entry.container
        raise NotFound(f"cannot find a container of {app}{f'/{service}' if service else ''}")

    def situation(self, app: str) -> Situation:
        """What is known of it. NotFound: nobody wants it and nothing of it is left."""
        view, wanted = self._views.get(app), self._wanted.app(app)
        if view is None or (wanted is None and app not in self._reports):
            self._wanted.require(app)
            view = AppView(app, self._wanted.target(app))  # accepted a moment ago: not looked at yet
        return Situation(
            view,
            self._records.get(app),
            self._wanted.owner(app)[0],
            time.monotonic(),
            wanted.version if wanted else "",
            self._wanted.pin(app),
            self._doing.get(app),
            self._executor.pulling(app),
            engine_error=self._engine_error[0],
            engine_error_ns=self._engine_error[1],
        )

    # The loop

    async def run(self) -> None:
        watcher = asyncio.create_task(self._watch_exits(), name="reconciler exits")
        try:
            while True:
                self._wake.clear()
                try:
                    pause_s = await self._round()
                    self._engine_error = ("", 0)
                except FieldgateError as failure:
                    log.warning("cannot observe containers cause=%s", failure)
                    self._due = None
                    self._engine_error = (failure.message, self._engine_error[1] or time.time_ns())
                    pause_s = AFTER_ENGINE_FAILURE_S
                try:
                    async with asyncio.timeout(pause_s):
                        await self._wake.wait()
                except TimeoutError:
                    pass
        finally:
            watcher.cancel()
            steps = list(self._steps.values())
            for task in steps:
                task.cancel()
            await asyncio.gather(watcher, *steps, return_exceptions=True)
            await self._health.close()

    async def _watch_exits(self) -> None:
        async for news in self._engine.exits():
            self._look_at(news.id.partition(".")[0])

    async def _round(self) -> float:
        """Observe all, plan for the APPs that are due; seconds until the next round at the latest."""
        due, self._due = self._due, set()
        statuses: dict[str, list[ContainerStatus]] = defaultdict(list)
        # A step may end while the engines are asked: what they answer may be older.
        busy_before, leaving_before = set(self._steps), set(self._leaving.containers)
        everything = await self._engine.list()
        self._observer.look_at(everything, leaving_before | self._leaving.containers)
        for status in everything:
            statuses[status.app].append(status)
        now = time.monotonic()
        if due is None or now >= self._looked_at_all + LOOK_AGAIN_S or any(v.hosts for v in self._views.values()):
            due, self._looked_at_all = None, now  # whoever lives in another APP's container depends on that one
        views = []
        names = sorted({*statuses, *self._records.names(), *self._wanted.names()})
        self._wake_at = {app: at for app, at in self._wake_at.items() if app in names}
        for app in names:
            if app in self._steps or app in busy_before:
                continue
            if due is not None and app not in due and now < self._wake_at.get(app, now):
                continue
            view = self._observer.view(app, statuses[app], now)
            if view is None:
                continue
            views.append(view)
            self._views[app] = view
            planned = plan(view, now)
            self._report(view, now)
            self._wake_at[app] = math.inf if planned.wake_at is None else planned.wake_at
            if planned.step is not None:
                self._begin(view, planned.step)
            if view.blind:
                self._wake_at[app] = min(self._wake_at[app], now + AFTER_ENGINE_FAILURE_S)
        planned_now = {view.name for view in views}
        busy = {s.container for name, r in self._reports.items() if name not in planned_now for s in r.services}
        self._observer.watch_health(views, busy)
        self._tell_grants()
        seen = {(status.app, status.service) for status in everything}
        self._keep_networks(seen | self._wanted.services(), busy_before | set(self._steps))
        return max(0.0, min([self._looked_at_all + LOOK_AGAIN_S, *self._wake_at.values()]) - now)

    def _begin(self, view: AppView, step: Step) -> None:
        task = asyncio.create_task(self._do(view, step), name=f"{view.name} {type(step).__name__.lower()}")
        self._steps[view.name] = task
        self._doing[view.name] = step

        def done(finished: asyncio.Task[None]) -> None:
            self._steps.pop(view.name, None)
            self._doing.pop(view.name, None)
            self._look_at(view.name)
            if not finished.cancelled() and (failure := finished.exception()) is not None:
                log.error("step failed unexpectedly app=%s", view.name, exc_info=failure)

        task.add_done_callback(done)

    async def _do(self, view: AppView, step: Step) -> None:
        memory = self._observer.memory(view.name)
        try:
            await self._execute(view, step)
        except Exception as failure:
            reason = failure.message if isinstance(failure, FieldgateError) else f"internal: {failure!r}"
            log.warning("step failed app=%s step=%s cause=%s", view.name, type(step).__name__.lower(), reason)
            if isinstance(step, Pull):
                memory.note_failed_pull(reason, time.monotonic(), exhausted=isinstance(failure, Exhausted))
            elif isinstance(step, Create) and step.spare:
                memory.note_failed_spare(step.service.name, time.monotonic())
            elif isinstance(step, Create) and not await self._leaving.lost_its_host(step):
                memory.note_failed_step(step.service.name, reason, time.monotonic())
            elif isinstance(step, Start | Stop | Remove):
                memory.note_failed_step(step.service, reason, time.monotonic())
                if not isinstance(step, Start):
                    await asyncio.sleep(AFTER_ENGINE_FAILURE_S)
            if not isinstance(failure, FieldgateError):
                raise
        else:
            if isinstance(step, Pull):
                memory.pulled()

    async def _execute(self, view: AppView, step: Step) -> None:
        match step:
            case Pull():
                assert view.target is not None
                others = self._wanted.others(view.name)
                check_memory(view.target, others, self._ram_bytes, self._reserved_bytes)
                await self._bookkeeping.clean_images()
                await self._executor.pull(view.name, step)
            case Create():
                assert view.target is not None
                await self._executor.create(view.target, step)
            case Start():
                await self._executor.start(step)
            case Stop():
                if step.reason == UNHEALTHY:
                    self._observer.memory(view.name).stopped_unhealthy.add(step.container)
                await self._leaving.stop(step)
            case Remove():
                await self._executor.remove(step)
            case MarkGood() | MarkFailed():
                await self._bookkeeping.mark(view.name, step)
            case Forget():
                await self._forget(view.name)

    async def _forget(self, app: str) -> None:
        await self._bookkeeping.forget(app)
        self._observer.forget(app)
        self._views.pop(app, None)
        if self._reports.pop(app, None) is not None:
            log.info("APP removed app=%s", app)
            self.news.put(AppRemoved(app))

    # What is told

    def _report(self, view: AppView, now: float) -> None:
        authority, revision = self._wanted.owner(view.name)
        pin = self._wanted.pin(view.name)
        report = app_report(view, self._records.get(view.name), authority, revision, now, pin)
        if view.target is None and not view.containers and view.name not in self._reports:
            return
        if report != self._reports.get(view.name):
            self._reports[view.name] = report
            self.news.put(report)

    def _tell_grants(self) -> None:
        granted = self._wanted.grants(set(self._reports))
        if granted != self._granted:
            self._granted = granted
            self.grants.put(granted)
