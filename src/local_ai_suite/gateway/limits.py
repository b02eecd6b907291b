"""What one key may take: requests per minute, and requests at once."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import time
from typing import TYPE_CHECKING

import orjson

from local_ai_suite.errors import SuiteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from local_ai_suite.gateway.keys import NamedKey

_MINUTE = 60.0

Counts = dict[str, "dict[str, float]"]
"""By key: ``tokens`` and ``since`` of its bucket, and each process' running requests by its id."""


class RateLimited(SuiteError):
    """A key has used up what it may; ``retry_after`` (whole seconds) is in the details."""

    code = "rate_limit_exceeded"
    http_status = 429


class SharedCounts:
    """Counts that all workers share, in an unnamed file whose descriptor they inherit.

    A request of a limited key costs two locked reads and writes of a few hundred bytes. The lock is
    the kernel's, so a worker that dies gives it back; what it had running is dropped when it is in
    the way.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        if descriptor is None:
            from tempfile import TemporaryFile  # noqa: PLC0415 (rarely wanted)

            with TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        self.descriptor = descriptor

    @contextlib.contextmanager
    def open(self) -> Iterator[Counts]:
        """The counts, to read and to change; nobody else has them meanwhile."""
        fcntl.lockf(self.descriptor, fcntl.LOCK_EX)
        try:
            text = os.pread(self.descriptor, os.fstat(self.descriptor).st_size, 0)
            counts: Counts = orjson.loads(text) if text else {}
            yield counts
            text = orjson.dumps(counts)
            os.pwrite(self.descriptor, text, 0)
            os.ftruncate(self.descriptor, len(text))
        finally:
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN)


class Limits:
    """Counts per key, in this process' memory or shared by all workers. Keys without limits cost
    nothing. ``clock`` is one that all processes share."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, shared: SharedCounts | None = None
    ) -> None:
        self._clock = clock
        own: Counts = {}
        self._open: Callable[[], AbstractContextManager[Counts]] = (
            shared.open if shared else lambda: contextlib.nullcontext(own)
        )
        self._me = str(os.getpid())

    def enter(self, key: NamedKey) -> None:
        """Count a request in, or raise RateLimited. Each ``enter`` is followed by ``leave``."""
        if key.parallel is None and key.requests_per_minute is None:
            return
        refused = None
        with self._open() as counts:
            kept = counts.setdefault(key.name, {})
            refused = self._too_many(key, kept) or self._too_fast(key, kept)
            if refused is None:
                kept[self._me] = kept.get(self._me, 0) + 1
        if refused is not None:
            raise refused

    def leave(self, key: NamedKey) -> None:
        if key.parallel is None and key.requests_per_minute is None:
            return
        with self._open() as counts:
            kept = counts.get(key.name, {})
            if kept.get(self._me, 0) > 1:
                kept[self._me] -= 1
            else:
                kept.pop(self._me, None)

    def _too_many(self, key: NamedKey, kept: dict[str, float]) -> RateLimited | None:
        if key.parallel is None or _running(kept) < key.parallel:
            return None
        for process in [name for name in kept if name.isdigit() and not _lives(int(name))]:
            del kept[process]
        if _running(kept) < key.parallel:
            return None
        return RateLimited(
            f"The key {key.name!r} may have {key.parallel} requests at once.",
            hint="Wait for one of them to end.",
            retry_after=1,
        )

    def _too_fast(self, key: NamedKey, kept: dict[str, float]) -> RateLimited | None:
        """Take a token from a bucket that holds a minute's requests and fills up evenly."""
        per_minute = key.requests_per_minute
        if per_minute is None:
            return None
        now = self._clock()
        since = kept.get("since", now)
        tokens = kept.get("tokens", float(per_minute)) + (now - since) * per_minute / _MINUTE
        tokens = min(float(per_minute), tokens)
        kept["since"] = now
        if tokens >= 1:
            kept["tokens"] = tokens - 1
            return None
        kept["tokens"] = tokens
        wait = math.ceil((1 - tokens) * _MINUTE / per_minute)
        return RateLimited(
            f"The key {key.name!r} may send {per_minute} requests a minute.",
            hint=f"Try again in {wait} s.",
            retry_after=wait,
        )


def _running(kept: dict[str, float]) -> float:
    return sum(count for name, count in kept.items() if name.isdigit())


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
