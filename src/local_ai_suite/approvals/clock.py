"""Two clocks that must agree, and when something has expired by them.

The wall clock can be set back; the boot clock cannot, but starts anew at each boot. A life is over
when either clock says so. After a reboot the boot clock says nothing about the time before it: a
life of minutes or hours ends there, and for one of days the wall clock decides alone, and may not
stand before the newest time that was ever recorded: set back across a reboot, it ends every life.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# NTP corrects a few seconds backwards in the ordinary course of things.
TOLERATED_STEP_BACK = 5.0
# A shorter life doesn't outlast a reboot: the wall clock alone is not trusted to the minute.
SURVIVES_REBOOT = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Moment:
    """``wall``: seconds since 1970. ``boot``: seconds since the boot named ``boot_id``."""

    wall: float
    boot: float
    boot_id: str

    def as_list(self) -> list[Any]:
        return [round(self.wall, 3), round(self.boot, 3), self.boot_id]

    @classmethod
    def from_list(cls, value: list[Any]) -> Moment:
        wall, boot, boot_id = value
        return cls(float(wall), float(boot), str(boot_id))


class Clock(Protocol):
    def now(self) -> Moment: ...


class SystemClock:
    """CLOCK_BOOTTIME counts a laptop's sleep too; elsewhere the monotonic clock must do."""

    def __init__(self) -> None:
        try:
            self._boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
        except OSError:
            import psutil  # noqa: PLC0415 (only where /proc is missing)

            self._boot_id = f"booted-{int(psutil.boot_time())}"

    def now(self) -> Moment:
        """This moment by the wall clock and by one that never goes back, both in seconds."""
        which = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        return Moment(time.time(), time.clock_gettime(which), self._boot_id)


def expired(born: Moment, life: float, now: Moment, newest_wall: float) -> bool:
    """Whether something born at ``born`` with ``life`` seconds is over.

    ``newest_wall``: the newest wall time that the ledger has recorded.
    """
    if now.wall >= born.wall + life:
        return True
    if now.boot_id == born.boot_id:
        return now.boot >= born.boot + life or now.boot < born.boot
    return life < SURVIVES_REBOOT or now.wall < max(born.wall, newest_wall) - TOLERATED_STEP_BACK


def seconds_left(born: Moment, life: float, now: Moment) -> float:
    """The shorter of what both clocks leave; never below 0."""
    left = born.wall + life - now.wall
    if now.boot_id == born.boot_id:
        left = min(left, born.boot + life - now.boot)
    return max(0.0, left)
