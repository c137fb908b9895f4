"""Who runs inside: `user` of the manifest or the image, looked up in the image's /etc/passwd and /etc/group. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class User:
    uid: int
    gid: int
    home: str
    groups: tuple[int, ...] = ()


def resolve_user(wanted: str, passwd: str, group: str) -> User:
    """`wanted` is `name|uid[:group|gid]` or empty for root. InvalidInput for a name that the image does not have."""
    name, _, group_name = wanted.partition(":")
    accounts = [fields for line in passwd.splitlines() if len(fields := line.split(":")) >= 6]
    groups = [fields for line in group.splitlines() if len(fields := line.split(":")) >= 4]
    user = _user(name or "0", accounts)
    if group_name:
        return User(user.uid, _group(group_name, groups), user.home)
    names = {fields[0] for fields in accounts if fields[2] == str(user.uid)}
    member_of = tuple(int(fields[2]) for fields in groups if names & set(fields[3].split(",")))
    return User(user.uid, user.gid, user.home, member_of)


def _user(name: str, accounts: list[list[str]]) -> User:
    for fields in accounts:
        if name in (fields[0], fields[2]):
            return User(int(fields[2]), int(fields[3]), fields[5] or "/")
    if name.isdecimal():
        return User(int(name), 0, "/root" if name == "0" else "/")
    raise InvalidInput(f"cannot run as user {name!r}: the image's /etc/passwd has no such user")


def _group(name: str, groups: list[list[str]]) -> int:
    for fields in groups:
        if name in (fields[0], fields[2]):
            return int(fields[2])
    if name.isdecimal():
        return int(name)
    raise InvalidInput(f"cannot run as group {name!r}: the image's /etc/group has no such group")
