"""Queues in front of the engine: first come, first served within a lane.

Each model of the engine has a lane per kind of request, so that a short completion (autocomplete)
never waits behind chat answers that take minutes. A lane lets as many requests through as the
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
# How many may wait in one lane. A person's machine with this many waiting will not catch up.
MAX_WAITING = 512
RETRY_AFTER_S = 5


class QueueFull(SuiteError):
    """Too many requests wait already."""

    code = "queue_full"
    http_status = 429


class Ticket:
    """A place in a lane; ``leave`` gives it up, once."""

    __slots__ = ("_lane",)

    def __init__(self, lane: Lane | None) -> None:
        self._lane = lane

    def leave(self) -> None:
        lane, self._lane = self._lane, None
        if lane is not None:
            lane.leave()


class Lane:
    """One queue. ``width`` says how many may be under way now; it may change with time."""

    def __init__(self, width: Callable[[], int], max_waiting: int) -> None:
        self._width = width
        self._max_waiting = max_waiting
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.running = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def enter(self) -> None:
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
            if turn.done() and not turn.cancelled():
                self.leave()  # our turn had come in the same moment: give it to the next
            else:
                self._waiting.remove(turn)
            raise

    def leave(self) -> None:
        self.running -= 1
        while self._waiting and self.running < self._width():
            turn = self._waiting.popleft()
            if not turn.done():
                self.running += 1
                turn.set_result(None)


_NO_TICKET = Ticket(None)


class Lanes:
    """All lanes, made when first used. ``slots`` tells an engine model's slots, if known."""

    def __init__(
        self, slots: Callable[[str], int | None], *, max_waiting: int = MAX_WAITING
    ) -> None:
        self._slots = slots
        self._max_waiting = max_waiting
        self._lanes: dict[tuple[str, str], Lane] = {}

    async def enter(self, model: str, lane: str) -> Ticket:
        """Wait for a place; requests of the lane ``none`` (token counting) never wait."""
        if lane == "none":
            return _NO_TICKET
        found = self._lanes.get((model, lane))
        if found is None:
            found = self._lanes[model, lane] = Lane(
                lambda: self._slots(model) or DEFAULT_WIDTH, self._max_waiting
            )
        await found.enter()
        return Ticket(found)

    def counts(self) -> dict[tuple[str, str], tuple[int, int]]:
        """(model, lane) -> (running, waiting)."""
        return {key: (lane.running, lane.waiting) for key, lane in self._lanes.items()}
