"""A cloud without its network: real database, store and keys, and messages as gateways send them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cloud.authority import Authority, Enrolled, init
from cloud.database import Database
from cloud.desired import Deployments
from cloud.ingest import Ingest
from cloud.operation_store import OperationStore
from cloud.samples import Samples
from cloud.state import State
from cloud.store import Store
from gateway.model.batches import Batch, BatchId, encode_batch
from gateway.model.tags import Sample

GATEWAY = "gw-1"


@dataclass(slots=True)
class Site:
    """One gateway is enrolled."""

    state: State
    database: Database
    store: Store
    samples: Samples
    authority: Authority
    deployments: Deployments
    ingest: Ingest
    enrolled: Enrolled

    @property
    def incarnation(self) -> str:
        return self.store.gateway(GATEWAY).incarnation

    def batch(self, first: int, last: int, stream: str = "telemetry", epoch: str = "e1") -> tuple[str, bytes]:
        """Topic and payload of a data message."""
        identity = BatchId(self.incarnation, stream, epoch, first, last)
        records = tuple(Sample("meter/power", float(seq), seq, "W", source=epoch) for seq in range(first, last + 1))
        return f"fieldgate/v1/{GATEWAY}/data/{stream}", encode_batch(Batch(identity, records))


@contextmanager
def opened(directory: Path) -> Iterator[Site]:
    """The site in `directory`; made there if it is not there yet."""
    state = State(directory / "cloud")
    if not state.database.exists():
        init(state, {})
    database = Database(state.database)
    database.open()
    try:
        store, samples = Store(database), Samples(database)
        authority = Authority(state, store)
        enrolled = authority.enrol(GATEWAY, "127.0.0.1", 8883, again=bool(store.gateways()))
        ingest = Ingest(database, store, samples, OperationStore(database))
        yield Site(state, database, store, samples, authority, Deployments(store), ingest, enrolled)
    finally:
        database.close()
