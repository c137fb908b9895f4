"""What every engine runs alike: the main process's arguments and capabilities. Pure."""

from __future__ import annotations

from typing import Final

from gateway.engines.base import ContainerSpec
from gateway.errors import InvalidInput
from gateway.model.image import ImageConfig

CAPABILITIES: Final = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETGID",
    "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
)  # fmt: skip
"""Docker's default without MKNOD, AUDIT_WRITE, SETFCAP and NET_RAW."""


def capabilities_of(spec: ContainerSpec) -> tuple[str, ...]:
    """The defaults, without `cap_drop`, with `cap_add`; `ALL` in either means all that there are by default."""
    dropped = {_capability(name) for name in spec.cap_drop}
    kept = set() if "CAP_ALL" in dropped else set(CAPABILITIES) - dropped
    return tuple(sorted(kept | {_capability(name) for name in spec.cap_add}))


def process_arguments(spec: ContainerSpec, image: ImageConfig) -> tuple[str, ...]:
    """Entry point and command by Compose's rules: an own entry point also discards the image's command."""
    entrypoint = image.entrypoint if spec.entrypoint is None else spec.entrypoint
    command = spec.command or (image.command if spec.entrypoint is None else ())
    arguments = (*entrypoint, *command)
    if not arguments:
        raise InvalidInput(f"cannot start {spec.app}/{spec.service}: neither the manifest nor the image has a command")
    return arguments


def _capability(name: str) -> str:
    return name.upper() if name.upper().startswith("CAP_") else f"CAP_{name.upper()}"
