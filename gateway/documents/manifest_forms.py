"""Compose's short and long forms, brought to one form each before they are checked. Pure.

Functions here take a value as it stands in the file and return the long form, or raise ValueError with what is wrong;
a value of a type that no form has is returned as it is, for the model to refuse.
"""

from __future__ import annotations

import posixpath
import re
import shlex
import signal
from typing import Any, Final

from gateway.documents.checks import faults
from gateway.documents.quantities import size_bytes

_DEVICE: Final = re.compile(r"/dev/[A-Za-z0-9._/-]+")
_CAPABILITY: Final = re.compile(r"[A-Z][A-Z0-9_]{1,31}")
_SIGNALS: Final = {member.name: member.name for member in signal.Signals} | {
    str(member.value): member.name for member in signal.Signals
}
_RESERVED: Final = ("/proc", "/sys", "/dev", "/run/esdk")


def drop_extensions(value: Any, ours: tuple[str, ...] = ()) -> Any:
    """Without the keys `x-...` that are not ours: Compose lets everybody have their own."""
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if not str(key).startswith("x-") or key in ours}


def scalar_text(value: Any) -> str:
    """A string, number or boolean as `docker compose` puts it into the environment."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ValueError("must be a string, a number, true or false")


def text_mapping(value: Any) -> Any:
    """Mapping of scalars, or list of `KEY=value`, to a mapping of strings. All faults at once."""
    if isinstance(value, list):
        value = _from_assignments(value)
    if not isinstance(value, dict):
        return value
    found, texts = [], {}
    for key, item in value.items():
        if item is None:
            found.append(((key,), "has no value, and the gateway has no environment to take it from"))
            continue
        try:
            texts[key] = scalar_text(item)
        except ValueError as failure:
            found.append(((key,), str(failure)))
    if found:
        raise faults(found)
    return texts


def _from_assignments(entries: list[Any]) -> dict[str, str | None]:
    found, mapping = [], {}
    for index, entry in enumerate(entries):
        if not isinstance(entry, str):
            found.append(((index,), 'must be a string such as "KEY=value"'))
            continue
        key, equals, text = entry.partition("=")
        mapping[key] = text if equals else None
    if found:
        raise faults(found)
    return mapping


def words(value: Any) -> Any:
    """A command: a list as it is, a string split as a shell would split it."""
    if not isinstance(value, str):
        return value
    try:
        return shlex.split(value)
    except ValueError as failure:
        raise ValueError(f"cannot be split into words: {str(failure).lower()}") from None


def one_or_more(value: Any) -> Any:
    """A single string is a list of one."""
    return [value] if isinstance(value, str) else value


def health_test(value: Any) -> Any:
    """A string runs in the container's shell; a list says how it runs by its first entry."""
    return ["CMD-SHELL", value] if isinstance(value, str) else value


def dependencies(value: Any) -> Any:
    """A list of services that must have started, or a mapping with a condition each."""
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return {entry: {"condition": "service_started"} for entry in value}
    return value


def volume(value: Any) -> Any:
    """`NAME:/target[:ro|rw]` or `/host/path:/target[:ro|rw]` to the long form."""
    if not isinstance(value, str):
        return value
    source, *rest = value.split(":")
    if not rest:
        raise ValueError(f"{value[:80]!a} has no name: write NAME:/target and declare NAME under volumes")
    mode = rest[1] if len(rest) == 2 else "rw"
    if len(rest) > 2 or mode not in ("ro", "rw"):
        raise ValueError(f"{value[:80]!a} must be SOURCE:TARGET, SOURCE:TARGET:ro or SOURCE:TARGET:rw")
    if source.startswith((".", "~")):
        raise ValueError(f"{source[:80]!a} is a path on your machine: use a named volume")
    kind = "bind" if source.startswith("/") else "volume"
    return {"type": kind, "source": source, "target": rest[0], "read_only": mode == "ro"}


def tmpfs(value: Any) -> Any:
    """`/target[:size=64M]` to `{"target", "size"?}`."""
    if not isinstance(value, str):
        return value
    target, _, options = value.partition(":")
    mount: dict[str, Any] = {"target": target}
    for option in options.split(",") if options else ():
        key, _, text = option.partition("=")
        if key != "size":
            raise ValueError(f"option {key[:40]!a} is not supported: only size is")
        mount["size"] = size_bytes(text)
    return mount


def device(text: str) -> str:
    """`/dev/x`, or `/dev/x:/dev/x[:rwm]`: a device keeps its name inside the container."""
    host, _, rest = text.partition(":")
    inside, _, permissions = rest.partition(":")
    if not _DEVICE.fullmatch(host) or posixpath.normpath(host) != host:
        raise ValueError(f"{text[:80]!a} must be a path below /dev")
    if inside not in ("", host):
        raise ValueError("the device must have the same path inside the container")
    if permissions not in ("", "rwm"):
        raise ValueError("permissions other than rwm are not supported")
    return host


def capability(text: str) -> str:
    """`NET_RAW` or `CAP_NET_RAW` to `NET_RAW`; `ALL` stays."""
    name = text.upper().removeprefix("CAP_")
    if not _CAPABILITY.fullmatch(name):
        raise ValueError(f"{text[:40]!a} is not a capability such as NET_RAW")
    return name


def stop_signal(value: Any) -> str:
    """`TERM`, `SIGTERM` or `15` to `SIGTERM`."""
    text = scalar_text(value).upper()
    name = _SIGNALS.get(text) or _SIGNALS.get(f"SIG{text}")
    if name is None:
        raise ValueError(f"{text[:40]!a} is not a signal such as SIGTERM")
    return name


def target_path(text: str) -> str:
    """An absolute path in the container where something may be mounted."""
    text = absolute_path(text)
    if any(text == reserved or text.startswith(f"{reserved}/") for reserved in _RESERVED):
        raise ValueError(f"{text[:80]} is the gateway's own: mount elsewhere")
    return text


def absolute_path(text: str) -> str:
    """An absolute, normalised path that is not `/`."""
    if len(text) > 255 or not text.isprintable():
        raise ValueError("must be a printable path of at most 255 characters")
    if not text.startswith("/") or text.startswith("//") or posixpath.normpath(text) != text or text == "/":
        raise ValueError(f"{text[:80]!a} must be an absolute path without '..', '//' or a final '/'")
    return text
