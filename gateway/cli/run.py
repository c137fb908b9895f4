"""`fieldgate run`: run the agent in the foreground."""

from __future__ import annotations

import argparse
from pathlib import Path

from gateway.paths import Paths


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("--profile", type=Path, required=True, help="firmware profile of this board (TOML)")
    command.add_argument("--config", type=Path, default=None, help="settings (TOML)")


def run(options: argparse.Namespace, paths: Paths) -> int:
    from gateway import agent

    return agent.run(options.profile, options.config, paths)
