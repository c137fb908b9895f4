"""Resolved seccomp rules -> the BPF program that the kernel runs, through libseccomp (ctypes, loaded when first used).

The same calls in the same order as crun and runc make them at every start, so the program is the same, byte for byte;
made once it saves them some 17 ms each time. Sources: seccomp_rule_add(3), seccomp_export_bpf(3), <seccomp.h>.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Any, Final

from gateway.errors import NotSupported, Unavailable

LIBRARY: Final = "libseccomp.so.2"
MAX_PROGRAM_BYTES: Final = 4096 * 8
"""BPF_MAXINSNS of the kernel, eight bytes each."""

_ACTIONS: Final = {"SCMP_ACT_ALLOW": 0x7FFF0000, "SCMP_ACT_ERRNO": 0x00050000, "SCMP_ACT_KILL_PROCESS": 0x80000000}
_COMPARISONS: Final = {
    "SCMP_CMP_NE": 1, "SCMP_CMP_LT": 2, "SCMP_CMP_LE": 3, "SCMP_CMP_EQ": 4, "SCMP_CMP_GE": 5, "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}  # fmt: skip
_NO_SUCH_CALL: Final = -1
"""__NR_SCMP_ERROR; other negative numbers stand for calls that this architecture multiplexes or lacks."""


class _Comparison(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = [
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("datum", ctypes.c_uint64),
        ("second_datum", ctypes.c_uint64),
    ]


def compile_filter(rules: dict[str, Any], library: str = LIBRARY) -> bytes:
    """The program for `rules` (OCI `linux.seccomp`), an array of struct sock_filter.

    Blocks for 20 to 40 ms. NotSupported: no libseccomp, or a rule that it does not take. Unavailable: no memory.
    """
    lib = _load(library)
    default = _action(rules["defaultAction"], rules.get("defaultErrnoRet"))
    context = lib.seccomp_init(default)
    if not context:
        raise Unavailable("cannot compile the seccomp profile: libseccomp has no memory")
    try:
        for name in rules["architectures"]:
            token = lib.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
            _check(lib.seccomp_arch_add(context, token), name, fine=-errno.EEXIST)
        for rule in rules["syscalls"]:
            _add(lib, context, rule, default)
        return _export(lib, context)
    finally:
        lib.seccomp_release(context)


def _load(library: str) -> ctypes.CDLL:
    try:
        lib = ctypes.CDLL(library)
    except OSError as failure:
        raise NotSupported(f"cannot compile the seccomp profile: {failure}", hint="apt install libseccomp2") from None
    lib.seccomp_init.restype = ctypes.c_void_p
    lib.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    for name, arguments in {
        "seccomp_init": [ctypes.c_uint32],
        "seccomp_release": [ctypes.c_void_p],
        "seccomp_arch_add": [ctypes.c_void_p, ctypes.c_uint32],
        "seccomp_rule_add_array": [
            ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison)
        ],
        "seccomp_export_bpf": [ctypes.c_void_p, ctypes.c_int],
    }.items():  # fmt: skip
        getattr(lib, name).argtypes = arguments
    return lib


def _action(name: str, number: int | None) -> int:
    """As libseccomp has it; an errno is EPERM where the rule names none, as in both runtimes."""
    try:
        action = _ACTIONS[name]
    except KeyError:
        raise NotSupported(f"cannot compile the seccomp profile: unknown action {name}") from None
    return action | (errno.EPERM if number is None else number) if name == "SCMP_ACT_ERRNO" else action


def _add(lib: ctypes.CDLL, context: int, rule: dict[str, Any], default: int) -> None:
    action = _action(rule["action"], rule.get("errnoRet"))
    if action == default:
        return  # libseccomp refuses what changes nothing
    arguments = rule.get("args") or []
    comparisons = (_Comparison * len(arguments))(
        *(
            _Comparison(item["index"], _COMPARISONS[item["op"]], item["value"], item.get("valueTwo", 0))
            for item in arguments
        )
    )
    for name in rule["names"]:
        number = lib.seccomp_syscall_resolve_name(name.encode())
        if number != _NO_SUCH_CALL:
            _check(lib.seccomp_rule_add_array(context, action, number, len(arguments), comparisons), name)


def _export(lib: ctypes.CDLL, context: int) -> bytes:
    descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        _check(lib.seccomp_export_bpf(context, descriptor), "export")
        return os.pread(descriptor, MAX_PROGRAM_BYTES, 0)
    finally:
        os.close(descriptor)


def _check(returned: int, what: str, fine: int = 0) -> None:
    if returned < 0 and returned != fine:
        raise NotSupported(f"cannot compile the seccomp profile: {what}: {os.strerror(-returned)}")
