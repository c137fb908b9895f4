"""The default seccomp profile as an OCI `linux.seccomp` object. Pure.

`seccomp_default.json` is the profile of containers/common (Apache-2.0), in the format that Docker and podman share:
rules with conditions on architecture, capabilities and kernel. The OCI runtime takes unconditional rules only.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from importlib.resources import files
from typing import Any, Final

_ARCHITECTURES: Final = {
    "x86_64": ("amd64", ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")),
    "aarch64": ("arm64", ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM")),
    "armv7l": ("arm", ("SCMP_ARCH_ARM",)),
}
_ARGUMENT_KEYS: Final = ("index", "value", "valueTwo", "op")


def load_default() -> dict[str, Any]:
    """The profile that is shipped with this package."""
    document: dict[str, Any] = json.loads(files(__package__).joinpath("seccomp_default.json").read_bytes())
    return document


def resolve(
    profile: dict[str, Any], capabilities: Collection[str], machine: str, kernel: tuple[int, int]
) -> dict[str, Any]:
    """`profile` with its conditions decided for a process with these capabilities on this machine and kernel."""
    name, architectures = _ARCHITECTURES[machine]
    syscalls = [_rule(rule) for rule in profile["syscalls"] if _applies(rule, frozenset(capabilities), name, kernel)]
    resolved = {
        "defaultAction": profile["defaultAction"],
        "architectures": list(architectures),
        "syscalls": syscalls,
    }
    if "defaultErrnoRet" in profile:
        resolved["defaultErrnoRet"] = profile["defaultErrnoRet"]
    return resolved


def _applies(rule: dict[str, Any], capabilities: frozenset[str], name: str, kernel: tuple[int, int]) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if includes.get("arches") and name not in includes["arches"]:
        return False
    if includes.get("caps") and not set(includes["caps"]) <= capabilities:
        return False
    if includes.get("minKernel") and kernel < _version(includes["minKernel"]):
        return False
    if excludes.get("arches") and name in excludes["arches"]:
        return False
    return not (excludes.get("caps") and set(excludes["caps"]) & capabilities)


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {"names": rule.get("names") or [rule["name"]], "action": rule["action"]}
    if rule.get("args"):
        kept["args"] = [{key: item[key] for key in _ARGUMENT_KEYS if key in item} for item in rule["args"]]
    if rule.get("errnoRet") is not None:
        kept["errnoRet"] = rule["errnoRet"]
    return kept


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)
