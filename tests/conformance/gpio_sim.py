"""A chip of the kernel without hardware: the module gpio-sim, configured in configfs. Needs root.

Only chips made here are used: driving lines of a `/dev/gpiochip*` that is wired to something could switch it.
"""

from __future__ import annotations

import os
from pathlib import Path

CONFIGFS = Path("/sys/kernel/config/gpio-sim")
NAME = "fieldgate-test"


def why_not() -> str:
    """Why there is no such chip here; empty when one can be made."""
    if not Path("/sys/bus/gpio").exists():
        return "this kernel has no GPIO at all (no /sys/bus/gpio: built without CONFIG_GPIOLIB)"
    if not CONFIGFS.is_dir():
        return f"no {CONFIGFS}: the module gpio-sim is not loaded, or configfs is not mounted"
    if os.geteuid() != 0:
        return f"{CONFIGFS} needs root"
    return ""


class GpioSim:
    """One bank of `lines` lines while in its context; `spec` is how a profile names it."""

    def __init__(self, lines: int = 8) -> None:
        self._device = CONFIGFS / NAME
        self._lines = lines
        self.spec = ""
        self._sysfs = Path()

    def start(self) -> None:
        bank = self._device / "bank0"
        bank.mkdir(parents=True)
        (bank / "num_lines").write_text(str(self._lines))
        (self._device / "live").write_text("1")
        chip = (bank / "chip_name").read_text().strip()
        self.spec = f"/dev/{chip}"
        self._sysfs = Path("/sys/devices/platform") / (self._device / "dev_name").read_text().strip() / chip

    def stop(self) -> None:
        (self._device / "live").write_text("0")
        (self._device / "bank0").rmdir()
        self._device.rmdir()

    def drive(self, offset: int, level: int) -> None:
        """Pull an input up or down."""
        (self._sysfs / f"sim_gpio{offset}" / "pull").write_text("pull-up" if level else "pull-down")

    def level(self, offset: int) -> int:
        return int((self._sysfs / f"sim_gpio{offset}" / "value").read_text())

    def settle(self, offset: int) -> None:
        """Before a line is given back: newer kernels let a freed line of this chip fall to its pull."""
        self.drive(offset, self.level(offset))
