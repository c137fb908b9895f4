"""Compose keys that we refuse with a reason of our own; docs/app-manifest.md shows this table.

`*` stands for any one name. A key that is neither supported nor listed here is refused as well, without a reason.
"""

from __future__ import annotations

from typing import Final

NOT_YET: Final = "not supported yet"

REFUSED: Final[dict[str, str]] = {
    "networks": "every service has a network of its own: use ports, expose and x-esdk.network",
    "secrets": f"{NOT_YET}: use x-esdk.settings for what is not secret",
    "configs": f"{NOT_YET}: use x-esdk.settings, or put the file into the image",
    "include": "the gateway has only this one file: put everything into it",
    "services.*.build": "the gateway does not build: `deploy` replaces it by the pinned image",
    "services.*.networks": "every service has a network of its own: use ports, expose and x-esdk.network",
    "services.*.links": "services of one APP know each other by name; x-esdk.network.reach opens other APPs",
    "services.*.dns_search": f"{NOT_YET}: write full names",
    "services.*.dns_opt": f"{NOT_YET}",
    "services.*.mac_address": "never supported: services have no network segment in common",
    "services.*.hostname": f"{NOT_YET}: the host name is the service's name",
    "services.*.secrets": f"{NOT_YET}: use x-esdk.settings for what is not secret",
    "services.*.configs": f"{NOT_YET}: use x-esdk.settings, or put the file into the image",
    "services.*.privileged": "never supported: grant what is needed by devices, cap_add and x-esdk",
    "services.*.pid": "never supported: a container has its own processes",
    "services.*.ipc": "never supported: a container has its own shared memory",
    "services.*.userns_mode": "never supported",
    "services.*.security_opt": "never supported: every container runs with the gateway's seccomp filter",
    "services.*.sysctls": f"{NOT_YET}",
    "services.*.ulimits": f"{NOT_YET}: use deploy.resources.limits",
    "services.*.container_name": "the gateway names containers: app.service.generation",
    "services.*.env_file": "the gateway has only this one file: use environment",
    "services.*.extends": "the gateway has only this one file: use YAML anchors",
    "services.*.profiles": "every service of a deployed file runs",
    "services.*.platform": "the gateway takes the image of its own architecture",
    "services.*.pull_policy": "images are pinned by digest: there is nothing to decide",
    "services.*.scale": "one container per service",
    "services.*.init": f"{NOT_YET}: the main process must reap its children",
    "services.*.logging": "the gateway keeps a bounded log of every container",
    "services.*.mem_limit": "use deploy.resources.limits.memory",
    "services.*.cpus": "use deploy.resources.limits.cpus",
    "services.*.pids_limit": "use deploy.resources.limits.pids",
    "services.*.deploy.replicas": "one container per service",
    "services.*.deploy.resources.reservations": "use deploy.resources.limits",
    "services.*.deploy.restart_policy": "use restart",
    "services.*.healthcheck.start_interval": f"{NOT_YET}: use start_period",
    "services.*.x-esdk.uplink.budget": f"{NOT_YET}",
    "volumes.*.external": f"{NOT_YET}: a volume belongs to one APP",
    "volumes.*.driver": f"{NOT_YET}: a volume is a directory on the gateway",
    "volumes.*.driver_opts": f"{NOT_YET}: a volume is a directory on the gateway",
    "volumes.*.name": f"{NOT_YET}: a volume belongs to one APP and is named by its key",
}


def explain(path: tuple[str | int, ...]) -> str | None:
    """Why the key at `path` is refused; None if there is no reason of its own."""
    parts = [str(part) for part in path]
    for pattern, reason in REFUSED.items():
        wanted = pattern.split(".")
        if len(wanted) == len(parts) and all(w in ("*", p) for w, p in zip(wanted, parts, strict=True)):
            return reason
    return None
