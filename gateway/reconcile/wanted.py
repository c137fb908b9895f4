"""What is to run here, from the desired states in force, the records of what failed, and what the profile still allows.

Answers questions only; `desired_store.py` and `records.py` keep the facts. Used by the loop and the observer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gateway.errors import FieldgateError, NotFound
from gateway.model.app import App, Grant
from gateway.model.desired import AcceptedDesired, Desired
from gateway.reconcile import hosting
from gateway.reconcile.desired_store import DesiredStore
from gateway.reconcile.records import AppRecords, Pin

Permitted = Callable[[Desired], None]
"""Raises when this board's profile does not allow (any more) what the desired state grants."""


class Wanted:
    def __init__(self, desired: DesiredStore, records: AppRecords, permitted: Permitted) -> None:
        self._desired = desired
        self._records = records
        self._permitted = permitted
        self._withheld: dict[str, tuple[str, App, str]] = {}

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
        """What is to run: the pinned version, the last good one when the desired one has failed, or the desired one."""
        wanted, record = self.app(name), self._records.get(name)
        if wanted is not None and (pin := self.pin(name)) is not None:
            return pin.version
        if wanted is not None and record.good is not None and record.failed_digest == wanted.digest:
            return record.good
        return wanted

    def pin(self, name: str) -> Pin | None:
        """The pin that holds; one of an earlier owner of the name does not."""
        pin = self._records.get(name).pin
        return pin if pin is not None and pin.authority == self.owner(name)[0] else None

    def services(self) -> set[tuple[str, str]]:
        """(APP, service) of all that is to run, stopped ones included."""
        targets = {name: self.target(name) for name in self.names()}
        return {(name, service.name) for name, app in targets.items() if app for service in app.services}

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

        A new firmware may have another profile. Judged once per desired state and version that is to run, be it an
        earlier one: the profile does not change while the agent runs. Whether its hosts let it in is judged each time.
        """
        target = self.target(name)
        if target is None:
            return ""
        for _, accepted in self._all():
            if all(app.name != name for app in accepted.desired.apps):
                continue
            known = self._withheld.get(name)
            if known is None or known[0] != accepted.digest or known[1] is not target:
                known = self._withheld[name] = (accepted.digest, target, self._judge(accepted.desired, target))
            return known[2] or hosting.refusal(target, self.owner(name)[0], self.find)
        return ""

    def find(self, name: str) -> tuple[App, str] | None:
        """What is to run of an APP, and the authority that wants it."""
        target = self.target(name)
        return (target, self.owner(name)[0]) if target is not None else None

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
        kept = self.others("")
        for name in self._records.names():
            record, wanted = self._records.get(name), self.app(name)
            kept += [record.good] if record.good else []
            kept += [record.pin.version] if record.pin else []
            # While a newer version is on trial its roll-back goes to the good one: the one before makes room.
            if record.previous and record.good and wanted and wanted.digest == record.good.digest:
                kept.append(record.previous)
        return frozenset(service.image for app in kept for service in app.services)

    def _all(self) -> list[tuple[str, AcceptedDesired]]:
        return list(self._desired.current.items())

    def _judge(self, desired: Desired, app: App) -> str:
        try:
            self._permitted(replace(desired, apps=(app,)))
        except FieldgateError as failure:
            return " ".join(str(failure).split())
        return ""
