"""What is to run here, from the desired states in force, the records of what failed, and what the profile still allows.

Answers questions only; `desired_store.py` and `records.py` keep the facts. Used by the loop and the observer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gateway.errors import FieldgateError, NotFound
from gateway.model.app import App, Grant
from gateway.model.desired import AcceptedDesired, Desired
from gateway.reconcile.desired_store import DesiredStore
from gateway.reconcile.records import AppRecords

Permitted = Callable[[Desired], None]
"""Raises when this board's profile does not allow (any more) what the desired state grants."""


class Wanted:
    def __init__(self, desired: DesiredStore, records: AppRecords, permitted: Permitted) -> None:
        self._desired = desired
        self._records = records
        self._permitted = permitted
        self._withheld: dict[str, tuple[str, dict[str, str]]] = {}

    @property
    def uncertain(self) -> bool:
        """A desired state was damaged: what is in none of the others may have been wanted by it."""
        return bool(self._desired.damaged)

    def names(self) -> set[str]:
        return {app.name for _, accepted in self._all() for app in accepted.desired.apps}

    def app(self, name: str) -> App | None:
        """As it is desired; None when nobody wants it."""
        for _, accepted in self._all():
            for app in accepted.desired.apps:
                if app.name == name:
                    return app
        return None

    def require(self, name: str) -> App:
        """As `app`; NotFound."""
        found = self.app(name)
        if found is None:
            raise NotFound(f"cannot find APP {name}", hint="fieldgate apps lists what is deployed")
        return found

    def target(self, name: str) -> App | None:
        """What is to run: the desired version, or the last good one when the desired one has failed."""
        wanted, record = self.app(name), self._records.get(name)
        if wanted is not None and record.good is not None and record.failed_digest == wanted.digest:
            return record.good
        return wanted

    def owner(self, name: str) -> tuple[str, int]:
        """Authority and revision that want it."""
        for authority, accepted in self._all():
            if any(app.name == name for app in accepted.desired.apps):
                return authority, accepted.desired.revision
        return "", 0

    def others(self, name: str) -> list[App]:
        """All desired APPs but this one."""
        return [app for _, accepted in self._all() for app in accepted.desired.apps if app.name != name]

    def withheld(self, name: str) -> str:
        """Why it must not run though it was accepted once; empty when it may.

        A new firmware may have another profile. Judged once per desired state: the profile does not change while the
        agent runs.
        """
        for authority, accepted in self._all():
            known = self._withheld.get(authority)
            if known is None or known[0] != accepted.digest:
                known = self._withheld[authority] = (accepted.digest, self._judge(accepted.desired))
            if name in known[1]:
                return known[1][name]
        return ""

    def grants(self, reported: set[str]) -> dict[str, Grant]:
        """Owner (`app.service`) -> what it may do, of all `reported` APPs that are to run."""
        granted = {}
        for name in reported:
            target = self.target(name)
            if target is None or self._records.get(name).stopped or self.withheld(name):
                continue
            granted.update({f"{name}.{service.name}": service.esdk for service in target.services})
        return granted

    def kept_images(self) -> frozenset[str]:
        """Images that an APP runs, or may have to go back to."""
        wanted = self.others("")
        good = [good for name in self._records.names() if (good := self._records.get(name).good) is not None]
        return frozenset(service.image for app in (*wanted, *good) for service in app.services)

    def _all(self) -> list[tuple[str, AcceptedDesired]]:
        return list(self._desired.current.items())

    def _judge(self, desired: Desired) -> dict[str, str]:
        refused = {}
        for app in desired.apps:
            try:
                self._permitted(replace(desired, apps=(app,)))
            except FieldgateError as failure:
                refused[app.name] = " ".join(str(failure).split())
        return refused
