"""After how long something that ended is started again: the one policy, and its numbers. Pure.

Each end within the window makes the next wait longer; the last wait repeats, for ever. Nobody gives
up: what ends a program again and again (a full disk, no memory, a port that somebody took) passes,
and then it should be back without a person. One try a minute costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

# A crash loop shows within minutes; a death a day must not make the next start slow.
WINDOW_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """``delays`` in seconds after the first, the second, ... end within the window.

    ``ends`` are the moments of the ends so far, in monotonic seconds.
    """

    delays: tuple[float, ...]
    ends: tuple[float, ...] = ()

    def ended(self, now: float) -> Backoff:
        """With one more end; those that have left the window are forgotten."""
        recent = tuple(end for end in self.ends if now - end < WINDOW_SECONDS)
        return replace(self, ends=(*recent, now))

    def __len__(self) -> int:
        """How many ends the last one saw in its window, itself among them."""
        return len(self.ends)

    @property
    def delay(self) -> float:
        """Seconds from the last end to the next start; 0 when nothing has ended."""
        return self.delays[min(len(self), len(self.delays)) - 1] if self.ends else 0.0

    @property
    def spent(self) -> bool:
        """Whether the waits have reached the last one: this ends again and again."""
        return len(self) >= len(self.delays)


# A service of the stack: a crash that happens once is over in half a second, before a client that
# tries again gives up; at a minute an hour's outage ends at most a minute late.
SERVICE = Backoff((0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0))
# A further process of a service that runs: others serve meanwhile, so it has a second.
WORKER = Backoff((1.0, 2.0, 5.0, 15.0, 60.0))
# An engine that died: at once, since somebody waits. A load costs gigabytes each time, so from
# the fourth death on only who asks for the model brings it back, after a minute at the earliest.
ENGINE = Backoff((0.0, 1.0, 5.0, 60.0))
# A model that did not load: who asks meanwhile gets the reason at once.
LOAD = Backoff((1.0, 5.0, 15.0, 60.0))
