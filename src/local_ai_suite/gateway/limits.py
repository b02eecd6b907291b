"""What one key may take: requests per minute, and requests at once."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from local_ai_suite.errors import SuiteError

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_ai_suite.gateway.keys import NamedKey

_MINUTE = 60.0


class RateLimited(SuiteError):
    """A key has used up what it may; ``retry_after`` (whole seconds) is in the details."""

    code = "rate_limit_exceeded"
    http_status = 429


class Limits:
    """Counts per key, in memory. Keys without limits cost one look-up."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running: dict[str, int] = {}
        # A bucket that holds a minute's requests and fills up evenly: (tokens, when).
        self._buckets: dict[str, tuple[float, float]] = {}

    def enter(self, key: NamedKey) -> None:
        """Count a request in, or raise RateLimited. Each ``enter`` is followed by ``leave``."""
        running = self._running.get(key.name, 0)
        if key.parallel is not None and running >= key.parallel:
            raise RateLimited(
                f"The key {key.name!r} may have {key.parallel} requests at once.",
                hint="Wait for one of them to end.",
                retry_after=1,
            )
        if key.requests_per_minute is not None:
            self._take(key.name, key.requests_per_minute)
        self._running[key.name] = running + 1

    def leave(self, key: NamedKey) -> None:
        running = self._running.get(key.name, 0) - 1
        if running > 0:
            self._running[key.name] = running
        else:
            self._running.pop(key.name, None)

    def _take(self, name: str, per_minute: int) -> None:
        now = self._clock()
        tokens, since = self._buckets.get(name, (float(per_minute), now))
        tokens = min(float(per_minute), tokens + (now - since) * per_minute / _MINUTE)
        if tokens < 1:
            self._buckets[name] = (tokens, now)
            wait = math.ceil((1 - tokens) * _MINUTE / per_minute)
            raise RateLimited(
                f"The key {name!r} may send {per_minute} requests a minute.",
                hint=f"Try again in {wait} s.",
                retry_after=wait,
            )
        self._buckets[name] = (tokens - 1, now)
