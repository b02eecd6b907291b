"""Queues in front of an engine: first come, first served.

Each model of the engine has a queue per kind of request, so that a short completion (autocomplete)
never waits behind chat answers that take minutes. A queue lets as many requests through as the
engine has slots for them; the others wait here, where a client that hangs up costs nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from local_ai_suite.errors import SuiteError

if TYPE_CHECKING:
    from collections.abc import Callable

# When the engine's slots are not known (it hasn't said yet): the engine queues by itself.
DEFAULT_WIDTH = 64
# How many may wait in one queue. A person's machine with this many waiting will not catch up.
MAX_WAITING = 512
RETRY_AFTER_S = 5


class QueueFull(SuiteError):
    """Too many requests wait already."""

    code = "queue_full"
    http_status = 429


class Queue:
    """One queue. ``width`` says how many may be under way now; it may change with time."""

    def __init__(self, width: Callable[[], int], max_waiting: int = MAX_WAITING) -> None:
        self._width = width
        self._max_waiting = max_waiting
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.running = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def enter(self) -> None:
        """Wait for a place; each ``enter`` is followed by ``leave``. Raises QueueFull."""
        if not self._waiting and self.running < self._width():
            self.running += 1
            return
        if len(self._waiting) >= self._max_waiting:
            raise QueueFull(
                f"{len(self._waiting)} requests are waiting for this model already.",
                hint=f"Try again in {RETRY_AFTER_S} s.",
                retry_after=RETRY_AFTER_S,
            )
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif not turn.cancelled():
                self.leave()  # our turn had come in the same moment: give it to the next
            raise

    def leave(self) -> None:
        """Give up a place, once for each ``enter``."""
        self.running -= 1
        while self._waiting and self.running < self._width():
            turn = self._waiting.popleft()
            if not turn.done():  # a cancelled one has hung up, and doesn't know it yet
                self.running += 1
                turn.set_result(None)


class Queues:
    """All queues, made when first used. ``slots`` tells an engine model's slots, if known."""

    def __init__(
        self, slots: Callable[[str], int | None], *, max_waiting: int = MAX_WAITING
    ) -> None:
        self._slots = slots
        self._max_waiting = max_waiting
        self._queues: dict[tuple[str, str], Queue] = {}

    def of(self, model: str, kind: str) -> Queue | None:
        """The queue for a kind of request; ``None`` for "none" (counting tokens never waits)."""
        if kind == "none":
            return None
        found = self._queues.get((model, kind))
        if found is None:
            found = self._queues[model, kind] = Queue(
                lambda: self._slots(model) or DEFAULT_WIDTH, self._max_waiting
            )
        return found

    def counts(self) -> dict[tuple[str, str], tuple[int, int]]:
        """(model, kind) -> (running, waiting)."""
        return {key: (queue.running, queue.waiting) for key, queue in self._queues.items()}
