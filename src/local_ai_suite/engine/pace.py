"""How fast a model generates, and whether that says something about the machine. Pure.

Between two looks at an engine's counters lies a sample. One that was taken beside other requests,
or while other programs used the processor, says more about the moment: it is shown, and never held
against the plan. Of the quiet ones the best of three counts, all of the same engine process: a
single one may have met a short disturbance that no counter shows.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

# A few tokens say more about the moment than about the machine.
TELLING_TOKENS = 32
SAMPLES = 3
# Cores that other programs may use, on average between two looks, in a quiet sample: a desktop at
# rest uses a tenth of one.
QUIET_CORES = 0.25
# Projections of speed come from memory bandwidth; a long context alone halves the real one.
SLOW_SHARE = 0.33


@dataclass(frozen=True, slots=True)
class Counters:
    """An engine's counters at one moment (``at``, seconds of a monotonic clock).

    ``tokens`` and ``seconds`` are what it generated since its start, and how long it took.
    ``own_cpu`` and ``all_cpu`` are seconds of processor time: its own, and the whole machine's;
    ``None`` where nobody knows.
    """

    at: float
    tokens: float
    seconds: float
    own_cpu: float | None = None
    all_cpu: float | None = None

    def cores_of_others(self, earlier: Counters) -> float | None:
        """Cores that other programs kept busy since ``earlier``; ``None`` if that is unknown."""
        ours = _difference(self.own_cpu, earlier.own_cpu)
        everybodys = _difference(self.all_cpu, earlier.all_cpu)
        if ours is None or everybodys is None or self.at <= earlier.at:
            return None
        return max(0.0, everybodys - ours) / (self.at - earlier.at)


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens per second: as planned, as generated, and in how many quiet samples that was the best
    (0: only beside other load)."""

    expected: float | None
    measured: float
    samples: int

    @property
    def is_slow(self) -> bool:
        """Far under the plan: a driver that fell back, a laptop on battery, swapped memory."""
        telling = self.samples >= SAMPLES and self.expected is not None
        return telling and self.measured < (self.expected or 0.0) * SLOW_SHARE


@dataclass(slots=True)
class Pace:
    """The samples of one engine process. ``last``: its counters when it became ready, then those of
    the last sample; ``busiest``: the most requests at once since then."""

    last: Counters | None = None
    busiest: int = 0
    _quiet: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    _latest: float | None = None

    def look(self, now: Counters) -> bool:
        """Take the counters of this moment; whether they make a sample."""
        last = self.last
        if last is None:
            self.last = now
            return False
        tokens, seconds = now.tokens - last.tokens, now.seconds - last.seconds
        if tokens < TELLING_TOKENS or seconds <= 0:
            return False  # the next look covers this time, too
        self._latest = tokens / seconds
        others = now.cores_of_others(last)
        if self.busiest <= 1 and others is not None and others <= QUIET_CORES:
            self._quiet.append(self._latest)
        self.last, self.busiest = now, 0
        return True

    def speed(self, expected: float | None) -> Speed | None:
        """The best quiet sample, else the latest of any kind; ``None`` before the first."""
        if self._quiet:
            return Speed(expected, max(self._quiet), len(self._quiet))
        return None if self._latest is None else Speed(expected, self._latest, 0)


def _difference(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before
