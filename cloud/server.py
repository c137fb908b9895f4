"""The running cloud: composes store, session, ingest and API, and tells gateways what they must hear.

Order of every batch: stored and on disk, then confirmed. Order of every deployment: stored and signed, then published.
Started by `fieldgate-cloud serve`.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from cloud.authority import CLIENT, CLOUD, Authority, Enrolled
from cloud.database import Database
from cloud.desired import Deployments
from cloud.events import Events, event
from cloud.ingest import Ingest
from cloud.operating import Operating
from cloud.operation_store import OperationStore
from cloud.republish import Republication
from cloud.samples import Samples
from cloud.state import State
from cloud.store import Store
from gateway.documents.envelope import PrivateKey
from gateway.errors import Conflict, FieldgateError
from gateway.model import topics
from gateway.model.topics import Channel, Topic
from gateway.mqtt import Address, Backoff, Incoming, Login, Session

log = logging.getLogger(__name__)

RECONNECT: Final = Backoff(first_s=0.5, cap_s=5.0, jitter=0.3)
"""Gateways wait for us: never as patient as they are."""

LOOK_S: Final = 0.5
"""How often it looks whether a gateway needs its desired state again."""
MAX_GROUP: Final = 64
"""Messages that share a transaction."""
STORAGE_PAUSE_S: Final = 2.0


class Cloud:
    """Everything that the API offers is a method here; blocking work runs in the database's thread."""

    def __init__(self, state: State, broker: Address, login: Login) -> None:
        self._state = state
        self.broker = broker
        self.database = Database(state.database)
        self.store = Store(self.database)
        self.samples = Samples(self.database)
        self.authority = Authority(state, self.store)
        self.deployments = Deployments(self.store)
        self.operations = OperationStore(self.database)
        self.ingest = Ingest(self.database, self.store, self.samples, self.operations)
        self.events = Events()
        self._republication = Republication()
        self._connected = asyncio.Event()
        self.operating = Operating(
            self.database,
            self.store,
            self.operations,
            self.events,
            self._publish,
        )
        self.session = Session(
            CLIENT,
            broker,
            login,
            topics.uplink_filters(),
            self._connected.set,
            dropped=self._dropped,
            reconnect=RECONNECT,
        )

    def _publish(self, topic: str, payload: bytes) -> bool:
        return self.session.publish(topic, payload)

    def _dropped(self, topic: str) -> None:
        """A batch that found no room is sent again, since it is not confirmed; what is retained comes when we do."""
        if f"/{Channel.DATA}/" not in topic:
            self.session.reset("too many messages wait")

    async def run(self, door: Callable[[Cloud], Coroutine[Any, Any, None]]) -> None:
        """Until cancelled, with its API served by `door`.

        Conflict: another one serves this state directory. NotFound: no keys yet.
        """
        lock = _locked(self._state)
        try:
            self.database.open()
            await self.database.run(self.authority.newest)
            for row in await self.database.run(self.store.all_desired):
                self._republication.want(row.gateway, row.revision)
            async with asyncio.TaskGroup() as tasks:
                for part in (
                    self.session.run(), self._take(), self._greet(), self._look(), self.operating.run(), door(self),
                ):  # fmt: skip
                    tasks.create_task(part)
        finally:
            self.database.close()
            os.close(lock)

    # What the API offers

    async def enrol(self, gateway: str, address: Address, *, again: bool) -> Enrolled:
        enrolled = await self.database.run(self.authority.enrol, gateway, address.host, address.port, again=again)
        if again:
            await self.database.run(self.deployments.move, gateway)
            self._republication.report(gateway, None, time.monotonic())
            await self._publish_desired(gateway)
        await self._publish_keys(gateway)
        log.info("gateway enrolled gateway=%s", gateway)
        return enrolled

    async def deploy(self, gateway: str, app: str, compose: dict[str, Any], *, dry_run: bool) -> dict[str, Any]:
        made = await self.database.run(self.deployments.put, gateway, app, compose, dry_run=dry_run)
        if not dry_run:
            log.info("deployed gateway=%s app=%s revision=%d", gateway, app, made["revision"])
            await self._publish_desired(gateway)
        return made

    async def undeploy(self, gateway: str, app: str) -> dict[str, Any]:
        made = await self.database.run(self.deployments.remove, gateway, app)
        log.info("undeployed gateway=%s app=%s revision=%d", gateway, app, made["revision"])
        await self._publish_desired(gateway)
        return made

    async def rotate(self, envelope: bytes, signer: PrivateKey) -> int:
        """The keys document's new version. Keys go out first: desired states are signed by the new signer then."""
        keys = await self.database.run(self.authority.succeed, envelope, signer)
        await self.database.run(self.deployments.sign_again)
        log.info("keys rotated version=%d signer=%s", keys.version, signer.id[:16])
        await self._publish_all()
        return keys.version

    # Parts

    async def _take(self) -> None:
        incoming = self.session.incoming
        while True:
            group = [await incoming.get()]
            while len(group) < MAX_GROUP and not incoming.empty():
                group.append(incoming.get_nowait())
            await self._store(group)

    async def _store(self, group: list[Incoming]) -> None:
        try:
            outcome = await self.database.run(self.ingest.take, [(m.topic, m.payload) for m in group])
        except sqlite3.Error as failure:
            # Nothing is confirmed, so gateways send data again; what is retained comes again with a new connection.
            log.error("cannot store %d messages: %s", len(group), failure)
            await asyncio.sleep(STORAGE_PAUSE_S)
            self.session.reset(f"cannot store: {failure}")
            return
        for topic, payload in outcome.confirmations:
            self.session.publish(topic, payload)
        for gateway, revision in outcome.revisions:
            self._republication.report(gateway, revision, time.monotonic())
        for answer, key in outcome.answers:
            self.operating.answered(answer, key)
        for happened in outcome.events:
            self.events.publish(happened)
        for message in group:
            self.session.acknowledge(message)

    async def _greet(self) -> None:
        """After each connect: a broker that was restarted may have lost everything that it was to retain."""
        while True:
            await self._connected.wait()
            self._connected.clear()
            await self._publish_all()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if self.session.status.connected:
                for gateway in self._republication.due(time.monotonic()):
                    log.info("desired state published again gateway=%s", gateway)
                    await self._publish_desired(gateway)

    # Publishing

    async def _publish_all(self) -> None:
        for row in await self.database.run(self.store.gateways):
            await self._publish_keys(row.gateway)
            await self._publish_desired(row.gateway)

    async def _publish_keys(self, gateway: str) -> None:
        if chain := await self.database.run(self.authority.chain):
            self.session.publish(str(Topic(gateway, Channel.KEYS)), chain, retain=True)

    async def _publish_desired(self, gateway: str) -> None:
        row = await self.database.run(self.store.desired, gateway)
        if row is None:
            return
        self._republication.want(gateway, row.revision)
        if self.session.publish(str(Topic(gateway, Channel.DESIRED, CLOUD)), row.envelope, retain=True):
            self._republication.published(gateway, time.monotonic())
            self.events.publish(event("desired", gateway, revision=row.revision, apps=sorted(row.apps)))


def _locked(state: State) -> int:
    """An open descriptor that keeps other processes out of the state directory."""
    state.prepare()
    descriptor = os.open(state.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise Conflict(f"cannot serve {state.directory}: another process does already") from None
    return descriptor


def cause_of(failure: BaseException) -> FieldgateError | None:
    """The error that a person should read, out of a task group's bundle."""
    if isinstance(failure, FieldgateError):
        return failure
    if isinstance(failure, BaseExceptionGroup):
        return next((cause for inner in failure.exceptions if (cause := cause_of(inner))), None)
    return None
