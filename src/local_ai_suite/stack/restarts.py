"""When a service that died is started again. Pure."""

from __future__ import annotations

from dataclasses import dataclass

# A crash loop shows within minutes; a death a day must not use the budget up.
WINDOW_S = 600.0
MOST_IN_WINDOW = 5
FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 8.0


@dataclass(frozen=True, slots=True)
class RestartBudget:
    """Times (monotonic seconds) of the restarts so far."""

    restarts: tuple[float, ...] = ()

    def next_delay(self, now: float) -> float | None:
        """Seconds to wait before the next start; ``None`` when the budget is spent."""
        recent = self._recent(now)
        if len(recent) >= MOST_IN_WINDOW:
            return None
        return min(FIRST_DELAY_S * 2.0 ** len(recent), LONGEST_DELAY_S)

    def spend(self, now: float) -> RestartBudget:
        return RestartBudget((*self._recent(now), now))

    def _recent(self, now: float) -> tuple[float, ...]:
        return tuple(moment for moment in self.restarts if now - moment < WINDOW_S)
