"""Which keys hold for which authority: the keys document in force, and the key files that the profile names.

Trust begins with the enrolment's keys document; accepted successors are kept in `trust/keys.json` and hold for the same
incarnation only, since a re-enrolled gateway begins anew. An authority with key files on the box is signed for by these
alone. Does not verify signatures: the border worker does, with what `expected()` says.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import logging
from pathlib import Path
from typing import Final, Protocol

from gateway.errors import Corrupted, FieldgateError, InvalidInput, NotPermitted
from gateway.host.files import read_limited
from gateway.host.statefile import StateFile
from gateway.model.enrolment import Enrolment
from gateway.model.profile import Profile
from gateway.model.trust import Expected, Keys
from gateway.model.wire import from_wire, to_wire
from gateway.paths import Paths

log = logging.getLogger(__name__)

_MAX_KEY_FILE_BYTES: Final = 4096
_KEY_BYTES: Final = 32
_DER_PREFIX: Final = bytes.fromhex("302a300506032b6570032100")
"""SubjectPublicKeyInfo of an ed25519 key up to its 32 bytes (RFC 8410, section 4)."""


class KeysBorder(Protocol):
    """Who verifies a chain of keys documents (`trust/border.py`)."""

    async def keys(self, current: Keys, message: bytes) -> Keys: ...


class KeyRing:
    """Reads `trust/keys.json` once; Corrupted or NotSupported if it is there and cannot be used."""

    def __init__(self, paths: Paths, enrolment: Enrolment, profile: Profile) -> None:
        self._enrolment = enrolment
        self._profile = profile
        self._state = paths.state
        self._file = StateFile(paths.trust / "keys.json")
        self._unusable: set[str] = set()
        """Key files that could not be read when they were needed last."""
        self._keys = self._newest(from_wire(Keys, enrolment.keys, "keys"))

    @property
    def keys(self) -> Keys:
        """The document in force."""
        return self._keys

    def expected(self, authority: str) -> Expected:
        """What a desired state of that authority must be. NotPermitted if the profile or the keys do not know it."""
        caps = self._profile.authorities.get(authority)
        if caps is None:
            raise NotPermitted(
                f"cannot accept authority {authority[:40]!a}: this gateway does not know it",
                hint=f"the firmware profile would allow it by [authorities.{authority[:40]}]",
            )
        signers = self._from_files(caps.key_files) if caps.key_files else self._from_document(authority)
        threshold = 1 if caps.key_files else self._keys.threshold
        if len(signers) < threshold:
            where = f"in {', '.join(caps.key_files)}" if caps.key_files else "in the keys document"
            raise NotPermitted(f"cannot accept authority {authority}: it has {len(signers)} keys {where}")
        return Expected(
            gateway=self._enrolment.gateway,
            incarnation=self._enrolment.incarnation,
            authority=authority,
            signers=signers,
            threshold=threshold,
            caps=caps,
            serial=tuple(port.name for port in self._profile.serial),
            gpio={line.name: line.output for line in self._profile.gpio},
            engines=self._profile.engines,
        )

    def operators(self) -> list[Expected]:
        """What is expected of an operation, of every authority that may ask for any and has keys."""
        found = []
        for authority, caps in self._profile.authorities.items():
            with contextlib.suppress(NotPermitted):
                found += [self.expected(authority)] if caps.operations else []
        return found

    async def succeed(self, message: bytes, border: KeysBorder) -> bool:
        """Take a chain of successors; True if it changed anything. Raises what the border found wrong with it."""
        before = self._keys
        newest = await border.keys(before, message)
        if newest.version <= before.version:
            return False
        content = {"incarnation": self._enrolment.incarnation, "keys": to_wire(newest)}
        await asyncio.to_thread(self._file.write, content)
        self._keys = newest
        log.info("keys document replaced version=%d before=%d", newest.version, before.version)
        return True

    def _newest(self, first: Keys) -> Keys:
        content = self._file.read()
        if content is None:
            return first
        try:
            kept = from_wire(Keys, content["keys"]) if content["incarnation"] == self._enrolment.incarnation else first
        except (KeyError, TypeError, InvalidInput) as failure:
            raise Corrupted(f"cannot read {self._file.path}: {failure}") from failure
        return kept if kept.version > first.version else first

    def _from_document(self, authority: str) -> dict[str, str]:
        return {identity: key.public for identity, key in self._keys.signers.items() if key.authority == authority}

    def _from_files(self, names: tuple[str, ...]) -> dict[str, str]:
        """Read each time: a key that was put there counts at once. A file that is missing or bad counts as none."""
        found = {}
        for name in names:
            try:
                public = read_public_key(self._state / name)
            except (OSError, FieldgateError) as failure:
                level = logging.DEBUG if name in self._unusable else logging.WARNING
                log.log(level, "key file unusable path=%s cause=%s", self._state / name, failure)
                self._unusable.add(name)
                continue
            self._unusable.discard(name)
            found[hashlib.sha256(bytes.fromhex(public)).hexdigest()] = public
        return found


def read_public_key(path: Path) -> str:
    """An ed25519 public key file, PEM or 64 hexadecimal digits, as hexadecimal. InvalidInput, OSError."""
    data = read_limited(path, _MAX_KEY_FILE_BYTES)
    lines = data.split(b"\n")
    try:
        if b"BEGIN PUBLIC KEY" in lines[0]:
            der = base64.b64decode(b"".join(line for line in lines if line and not line.startswith(b"-----")))
            raw = der.removeprefix(_DER_PREFIX) if der.startswith(_DER_PREFIX) else b""
        else:
            raw = binascii.unhexlify(data.strip())
    except binascii.Error as failure:
        raise InvalidInput(f"cannot read key {path}: {failure}") from None
    if len(raw) != _KEY_BYTES:
        raise InvalidInput(f"cannot read key {path}: it is not an ed25519 public key in PEM or hexadecimal")
    return raw.hex()
