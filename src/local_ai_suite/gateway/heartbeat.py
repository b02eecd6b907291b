"""What a streaming client hears while it waits: its 200 after a while, then comments."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Clients give up on a silent connection after 30 to 60 s at the least (Cline #3058, undici 300 s);
# ten seconds is long enough that almost every error still gets its status.
HOLD_S = 10.0
EVERY_S = 10.0
COMMENT = b": waiting for the model\n\n"


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds until the first beat, and between two."""

    hold_s: float = HOLD_S
    every_s: float = EVERY_S


class Heartbeat:
    """``begin`` starts the answer, ``beat`` sends a sign of life (``None``: the 200 has to do)."""

    __slots__ = ("_beat", "_begin", "_pace", "_task", "_timer", "begun")

    def __init__(
        self,
        pace: Pace,
        begin: Callable[[], Awaitable[None]],
        beat: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._pace = pace
        self._begin = begin
        self._beat = beat
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self.begun = False

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._pace.hold_s, self._start_beating)

    def stop(self) -> None:
        """No more beats. ``begun`` tells whether the client has got its 200."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _start_beating(self) -> None:
        self._timer = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        self.begun = True
        await self._begin()
        while self._beat is not None:
            await self._beat()
            await asyncio.sleep(self._pace.every_s)
