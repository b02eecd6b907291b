"""One child that is kept running: started, watched, and started again when it ends."""

from __future__ import annotations

import asyncio
import contextlib
from enum import StrEnum
from typing import TYPE_CHECKING

from .child import ChildProcess, ChildState, Clock, Exit, SystemClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .restarts import Backoff


class Phase(StrEnum):
    """What a kept child is at. ``failed`` is the only one that does not pass by itself."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    STUCK = "stuck"
    RESTARTING = "restarting"
    FAILED = "failed"


_PHASES = {
    ChildState.STARTING: Phase.STARTING,
    ChildState.READY: Phase.READY,
    ChildState.STUCK: Phase.STUCK,
}


class Keeper:
    """Runs what ``make`` makes, again and again, with the pauses of ``backoff``.

    With ``must_start`` a child that was never ready is not started again: what keeps it from
    starting the first time is a mistake of somebody who waits for it. ``after_end`` runs between
    an end and the pause, and may return a better reason for the end; ``on_change`` is called
    after each change of what this shows.
    """

    def __init__(
        self,
        make: Callable[[Callable[[], None]], ChildProcess],
        backoff: Backoff,
        *,
        must_start: bool = False,
        after_end: Callable[[Exit], Awaitable[str]] | None = None,
        on_change: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
    ) -> None:
        self.phase = Phase.STOPPED
        self.child: ChildProcess | None = None
        self.restarts = 0
        self.reason = ""
        self._make = make
        self._backoff = backoff
        self._must_start = must_start
        self._after_end = after_end
        self._on_change = on_change
        self._clock = clock or SystemClock()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start it; a second call does nothing."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """End the child and start no other; bounded as the child's stop is."""
        self._stopping.set()
        if self.child is not None:
            await self.child.stop()
        if self._task is not None:
            await self._task
        self._to(Phase.STOPPED)

    async def _keep(self) -> None:
        was_ready = False
        while not self._stopping.is_set():
            self.child = self._make(self._child_changed)
            self._to(Phase.STARTING)
            ended = await self.child.exited()
            was_ready = was_ready or self.child.ready_at is not None
            if self._stopping.is_set():
                return
            failed = self._must_start and not was_ready
            self.reason = ended.reason
            if not failed:
                self._backoff = self._backoff.ended(self._clock.now())
                self.restarts += 1
                self._to(Phase.RESTARTING)
            if self._after_end is not None:
                self.reason = await self._after_end(ended)
            if failed:
                self._to(Phase.FAILED)
                return
            self._on_change()
            await self._pause(self._backoff.delay)

    async def _pause(self, seconds: float) -> None:
        """Not one moment longer once it is to stop."""
        pause = asyncio.create_task(self._clock.sleep(seconds))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({pause, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (pause, stopping):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    def _child_changed(self) -> None:
        if self.child is not None and (phase := _PHASES.get(self.child.state)) is not None:
            self._to(phase)

    def _to(self, phase: Phase) -> None:
        self.phase = phase
        self._on_change()
