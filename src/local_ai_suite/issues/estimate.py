"""Hours and dates, computed from sizes: a model picks S, M or L, the program does the sums."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

HOURS_PER_DAY = 6  # of a working day, what is left for the task itself
HOURS = {"S": 2, "M": 6, "L": 16}
# A share of the work, by complexity: what is unknown grows with it.
BUFFER = {"low": 0.15, "medium": 0.25, "high": 0.40}
_SATURDAY = 5


@dataclass(frozen=True, slots=True)
class PhaseTime:
    """Hours of work, and the first and the last day."""

    hours: int
    start: date
    end: date


@dataclass(frozen=True, slots=True)
class Estimate:
    """``total`` is work and buffer, in hours; ``end`` the last day with the buffer."""

    phases: tuple[PhaseTime, ...]
    work: int
    buffer_share: float
    buffer: int
    total: int
    end: date


def estimate(phases: list[dict[str, Any]], complexity: str, start: date) -> Estimate:
    """One person after another, phase after phase, from the first working day on ``start``."""
    spans = []
    used = 0
    for phase in phases:
        hours = sum(HOURS[task["size"]] for task in phase["tasks"])
        first = working_day(start, used // HOURS_PER_DAY)
        used += hours
        last = working_day(start, max(0, math.ceil(used / HOURS_PER_DAY) - 1))
        spans.append(PhaseTime(hours, first, max(first, last)))
    share = BUFFER[complexity]
    buffer = math.ceil(used * share)
    last = working_day(start, max(0, math.ceil((used + buffer) / HOURS_PER_DAY) - 1))
    return Estimate(tuple(spans), used, share, buffer, used + buffer, last)


def working_day(start: date, number: int) -> date:
    """The ``number``-th working day (from 0) at or after ``start``."""
    day = start
    while True:
        if day.weekday() < _SATURDAY:
            if number == 0:
                return day
            number -= 1
        day += timedelta(days=1)
