"""What is to run on a gateway: one APP added, replaced or removed makes the next revision, checked, signed and kept.

Blocking: runs in the database's thread. Publishes nothing: `server.py` does, once it is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from cloud.authority import CLOUD
from cloud.store import DesiredRow, Store
from gateway.documents import manifest
from gateway.documents.desired import encode_desired, sign_desired
from gateway.errors import InvalidInput, NotFound
from gateway.model.app import App
from gateway.model.reports import AppReport
from gateway.model.wire import to_wire


class Deployments:
    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, gateway: str, name: str, compose: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """`{"gateway", "app", "revision", "envelope", "digest", "version", "replaces"}`; InvalidInput in the gateway's
        words."""
        app = manifest.parse(dict(compose))
        if app.name != name:
            raise InvalidInput(f"cannot deploy {name[:80]!a}: the manifest is of APP {app.name}")
        before = self._apps(gateway)
        row = self._next(gateway, {**before, name: dict(compose)})
        if not dry_run:
            self._store.put_desired(row)
        return {
            "gateway": gateway,
            "app": name,
            "revision": row.revision,
            "envelope": _digest(row.envelope),
            "digest": app.digest,
            "version": app.version,
            "replaces": manifest.parse(before[name]).version if name in before else None,
        }

    def remove(self, gateway: str, name: str) -> dict[str, Any]:
        """`{"gateway", "app", "revision", "envelope"}`; NotFound."""
        apps = self._apps(gateway)
        if name not in apps:
            raise NotFound(f"cannot remove {name[:80]!a}: the cloud has not deployed it to {gateway}")
        row = self._next(gateway, {other: compose for other, compose in apps.items() if other != name})
        self._store.put_desired(row)
        return {"gateway": gateway, "app": name, "revision": row.revision, "envelope": _digest(row.envelope)}

    def move(self, gateway: str) -> None:
        """To the gateway's new incarnation: what was wanted of the old one is wanted of this one."""
        if self._store.desired(gateway) is not None:
            self._store.put_desired(self._next(gateway, self._apps(gateway)))

    def sign_again(self) -> None:
        """With the signer in use now; revisions stay, so a gateway that has accepted one need not do anything."""
        for row in self._store.all_desired():
            self._store.put_desired(self._signed(row.gateway, row.revision, row.apps))

    def diff(self, gateway: str) -> dict[str, Any]:
        """`{"gateway", "online", "revision": {"desired", "reported"}, "same", "apps": [...]}`."""
        status = self._store.gateway(gateway).status
        row = self._store.desired(gateway)
        wanted = {name: manifest.parse(compose) for name, compose in row.apps.items()} if row else {}
        reported = {report.app: report for report in self._store.reports(gateway) if report.authority == CLOUD}
        apps = [_compared(name, wanted.get(name), reported.get(name)) for name in sorted({*wanted, *reported})]
        revisions = {
            "desired": row.revision if row else 0,
            "reported": (status.revisions or {}).get(CLOUD, 0) if status else 0,
        }
        same = revisions["desired"] == revisions["reported"] and all(app["state"] == "same" for app in apps)
        online = status is not None and status.online
        return {"gateway": gateway, "online": online, "revision": revisions, "same": same, "apps": apps}

    def _apps(self, gateway: str) -> dict[str, dict[str, Any]]:
        row = self._store.desired(gateway)
        return row.apps if row else {}

    def _next(self, gateway: str, apps: Mapping[str, Mapping[str, Any]]) -> DesiredRow:
        """Above what the gateway reports, too: a cloud that was restored from a backup must not fall behind it."""
        row, status = self._store.desired(gateway), self._store.gateway(gateway).status
        reported = (status.revisions or {}).get(CLOUD, 0) if status else 0
        return self._signed(gateway, max(row.revision if row else 0, reported) + 1, apps)

    def _signed(self, gateway: str, revision: int, apps: Mapping[str, Mapping[str, Any]]) -> DesiredRow:
        incarnation = self._store.gateway(gateway).incarnation
        payload = encode_desired(gateway, incarnation, CLOUD, revision, apps)
        envelope = sign_desired(payload, [self._store.signer()])
        return DesiredRow(gateway, revision, {name: dict(compose) for name, compose in apps.items()}, envelope)


def _digest(envelope: bytes) -> str:
    """By which a gateway names the envelope that it refused."""
    return "sha256:" + hashlib.sha256(envelope).hexdigest()


def _compared(name: str, wanted: App | None, reported: AppReport | None) -> dict[str, Any]:
    """One APP of the diff; `state` is same, differs, missing (not there yet) or unwanted (still there)."""
    if wanted is None:
        state = "unwanted"
    elif reported is None:
        state = "missing"
    else:
        state = "same" if reported.digest == wanted.digest and reported.rollout.value == "done" else "differs"
    return {
        "app": name,
        "state": state,
        "desired": {"version": wanted.version, "digest": wanted.digest} if wanted else None,
        "reported": to_wire(reported) if reported else None,
    }
