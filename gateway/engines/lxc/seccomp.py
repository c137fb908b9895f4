"""Resolved seccomp rules (OCI `linux.seccomp`) -> a policy of lxc, version 2 (lxc.container.conf(5), seccomp.c). Pure.

`[all]`: each rule also holds for the other architectures that the kernel can run (32-bit programs).
"""

from __future__ import annotations

from typing import Any

from gateway.errors import NotSupported


def policy(rules: dict[str, Any]) -> str:
    """The text of the policy. NotSupported for an action that lxc has no word for."""
    lines = ["2", f"allowlist {_action(rules['defaultAction'], rules.get('defaultErrnoRet'))}", "[all]"]
    for rule in rules["syscalls"]:
        words = [_action(rule["action"], rule.get("errnoRet"))]
        if arguments := "".join(_argument(argument) for argument in rule.get("args", ())):
            words.append(arguments)
        lines += [" ".join((name, *words)) for name in rule["names"]]
    return "\n".join(lines) + "\n"


def _action(action: str, number: int | None) -> str:
    match action:
        case "SCMP_ACT_ALLOW":
            return "allow"
        case "SCMP_ACT_ERRNO":
            return f"errno {1 if number is None else number}"
        case "SCMP_ACT_KILL" | "SCMP_ACT_KILL_PROCESS" | "SCMP_ACT_KILL_THREAD":
            return "kill"
    raise NotSupported(f"cannot tell lxc the seccomp action {action}: it has no word for it")


def _argument(argument: dict[str, Any]) -> str:
    """With SCMP_CMP_MASKED_EQ `value` is the mask in OCI, and the last number in lxc's form."""
    index, value, comparison = argument["index"], argument["value"], argument["op"]
    if comparison == "SCMP_CMP_MASKED_EQ":
        return f"[{index},{argument.get('valueTwo', 0)},{comparison},{value}]"
    return f"[{index},{value},{comparison}]"
