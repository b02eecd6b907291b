"""One child process: its states, readiness, health, whole-tree stop, and the end of its log.

    stopped -> starting -> ready <-> stuck -> stopping -> stopped
                  |          |
                  +----------+----> stopped, with an Exit that was not asked for

One task (``_live``) writes the state; everybody else asks (``ready()``, ``exited()``, ``stop()``)
and never tests the state before asking. A child gets a session of its own, so that a Ctrl-C in the
terminal reaches only us and its whole group can be stopped; on Linux the kernel kills it when we
die (``PR_SET_PDEATHSIG``), so that nothing outlives a ``kill -9``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import psutil

from .output import TAIL_LINES, Output, PipedLog
from .spawning import Spawner, spawner
from .trees import KILL_SECONDS, STOP_SECONDS, descendants, signal_group

if TYPE_CHECKING:
    from pathlib import Path

# Between two questions whether it is ready: a model that loads in 50 ms should not wait for a slow
# poll, and one that takes minutes should not be asked fifty times a second.
PROBE_SECONDS = 0.02
PROBE_SECONDS_MOST = 0.2
PROBE_GROWTH = 1.2
# A child that missed one answer is asked again after this.
ASK_AGAIN_SECONDS = 0.5
# The pipe's end is read for this long after the child is gone; a grandchild may still hold it.
LAST_WORDS_SECONDS = 0.5

Probe = Callable[[], Awaitable[bool]]


class ChildState(StrEnum):
    """What a child is at; see the drawing above."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    STUCK = "stuck"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended. ``code`` is negative for a signal, ``None`` if it never started.

    ``asked`` tells a stop from a death. ``reason`` is one sentence for a person.
    """

    code: int | None
    asked: bool
    reason: str


class Clock(Protocol):
    """Monotonic seconds and a way to wait; tests bring their own."""

    def now(self) -> float:
        """Seconds of a clock that never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds``."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """``time.monotonic()``."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """``asyncio.sleep``."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Health:
    """How a child is watched after it was ready.

    It is asked ``every`` so many seconds and has ``within`` seconds for an answer; one that misses
    ``misses`` answers in a row hangs, and is ended. Answers are counted, not seconds: a machine
    that slept, or a parent that was stopped, has asked nothing meanwhile. ``stop_seconds`` is what
    a hanging child is given to end by itself: its loop will hardly see the signal.
    """

    every: float
    within: float
    misses: int
    stop_seconds: float


class ChildProcess:
    """A child that is started once. ``probe`` says whether it is ready; ``on_line`` sees its log.

    ``log_file`` gets everything (mode 600; the one before is kept as ``.1`` beyond 5 MiB);
    ``output`` replaces both. With ``health`` it is watched after it was ready, by ``alive`` or else
    by the same probe.
    ``on_change`` is called after each change of the state.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        probe: Probe,
        alive: Probe | None = None,
        ready_seconds: float,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log_file: Path | None = None,
        on_line: Callable[[str], None] | None = None,
        output: Output | None = None,
        stop_seconds: float = STOP_SECONDS,
        health: Health | None = None,
        on_change: Callable[[], None] | None = None,
        clock: Clock | None = None,
        spawn: Spawner | None = None,
    ) -> None:
        self.name = name
        self.command = tuple(command)
        self.pid: int | None = None
        self.create_time: float | None = None
        self.started_at: float | None = None
        self.ready_at: float | None = None
        self._probe = probe
        self._alive = alive or probe
        self._ready_seconds = ready_seconds
        self._env = os.environ if env is None else env
        self._cwd = cwd
        self._output = output or PipedLog(log_file, on_line)
        self._stop_seconds = stop_seconds
        self._health = health
        self._on_change = on_change
        self._clock = clock or SystemClock()
        self._spawn = spawn or spawner()
        self._state = ChildState.STOPPED
        self._exit: Exit | None = None
        self._became_ready = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._life: asyncio.Task[Exit] | None = None

    @property
    def state(self) -> ChildState:
        """For showing only; ask :meth:`ready` before you use the child."""
        return self._state

    @property
    def exit(self) -> Exit | None:
        """How it ended; ``None`` while it lives."""
        return self._exit

    def log_tail(self, lines: int = TAIL_LINES) -> list[str]:
        """The last lines of its output, oldest first."""
        return self._output.tail(lines)

    def start(self) -> None:
        """Start it; a second call does nothing."""
        if self._life is None:
            self._life = asyncio.create_task(self._live(), name=f"child {self.name}")

    async def ready(self) -> Exit | None:
        """Start it if need be and wait: ``None`` once it is ready, else how it ended."""
        self.start()
        life = self._life
        assert life is not None  # noqa: S101
        became = asyncio.create_task(self._became_ready.wait())
        try:
            await asyncio.wait({life, became}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            became.cancel()
        return life.result() if life.done() else None

    async def exited(self) -> Exit:
        """Wait for its end, asked for or not."""
        self.start()
        assert self._life is not None  # noqa: S101
        return await asyncio.shield(self._life)

    async def stop(self) -> Exit:
        """Stop the whole tree: SIGTERM, a bounded wait, SIGKILL. Any number may ask."""
        self._stop_asked.set()
        if self._life is None:
            self._exit = self._exit or Exit(None, asked=True, reason=f"{self.name} never started")
            return self._exit
        return await asyncio.shield(self._life)

    async def _live(self) -> Exit:
        """The one writer of the state."""
        self.started_at = self._clock.now()
        writer: int | None = None
        try:
            writer = self._output.open()
            process = await self._spawn(self.command, self._env, self._cwd, writer)
        except OSError as exc:
            return self._end(Exit(None, asked=False, reason=f"{self.name} cannot start: {exc}"))
        finally:
            if writer is not None:
                os.close(writer)
        self.pid = process.pid
        with contextlib.suppress(psutil.Error):
            self.create_time = psutil.Process(process.pid).create_time()
        self._now(ChildState.STARTING)
        reading = asyncio.create_task(self._output.read())
        gone = asyncio.create_task(process.wait())
        asked = asyncio.create_task(self._stop_asked.wait())
        why: str | None = None
        try:
            why = await self._until_ready(gone, asked)
            if why is None and not gone.done() and not asked.done():
                why = await self._while_healthy(gone, asked)
            if not gone.done():
                seconds = self._stop_seconds
                if self._health is not None and self._state is ChildState.STUCK:
                    seconds = self._health.stop_seconds
                self._now(ChildState.STOPPING)
                await self._stop_tree(process.pid, gone, seconds)
        finally:
            if not gone.done():  # cancelled: leave nothing behind
                signal_group(process.pid, signal.SIGKILL)
                self._state = ChildState.STOPPED
            asked.cancel()
            await self._last_words(reading)
        code = gone.result() if gone.done() else None
        if why is None and asked.done() and not asked.cancelled():
            return self._end(Exit(code, asked=True, reason=f"{self.name} was stopped"))
        return self._end(Exit(code, asked=False, reason=why or f"{self.name} {ended(code)}"))

    def _now(self, state: ChildState) -> None:
        if state is not self._state:
            self._state = state
            if self._on_change is not None:
                self._on_change()

    def _end(self, result: Exit) -> Exit:
        self._exit = result
        self._output.close()
        self._now(ChildState.STOPPED)
        return result

    async def _until_ready(self, gone: asyncio.Task[int], asked: asyncio.Task[bool]) -> str | None:
        """Why it must be ended before it was ready; ``None`` also when it is gone or was asked."""
        probing = asyncio.create_task(self._until_it_says_so())
        late = asyncio.create_task(self._clock.sleep(self._ready_seconds))
        try:
            await _first(gone, asked, probing, late)
            if gone.done() or asked.done():
                return None
            if not probing.done():
                return f"{self.name} was not ready after {self._ready_seconds:g} s"
            if (failed := probing.exception()) is not None:
                return f"asking {self.name} whether it is ready failed: {failed!r}"
        finally:
            probing.cancel()
            late.cancel()
        self.ready_at = self._clock.now()
        self._became_ready.set()
        self._now(ChildState.READY)
        return None

    async def _until_it_says_so(self) -> None:
        pause = PROBE_SECONDS
        while not await self._probe():
            await self._clock.sleep(pause)
            pause = min(pause * PROBE_GROWTH, PROBE_SECONDS_MOST)

    async def _while_healthy(
        self, gone: asyncio.Task[int], asked: asyncio.Task[bool]
    ) -> str | None:
        """Why a child that was ready must be ended; ``None`` when it is gone or was asked to."""
        if self._health is None:
            await _first(gone, asked)
            return None
        watching = asyncio.create_task(self._until_it_hangs(self._health))
        try:
            await _first(gone, asked, watching)
            return watching.result() if watching.done() and not gone.done() else None
        finally:
            watching.cancel()

    async def _until_it_hangs(self, health: Health) -> str:
        missed = 0
        unanswered = self._clock.now()  # when the first question without an answer was asked
        while missed < health.misses:
            await self._clock.sleep(ASK_AGAIN_SECONDS if missed else health.every)
            if missed == 0:
                unanswered = self._clock.now()
            if await self._answers(health.within):
                missed = 0
                self._now(ChildState.READY)
            else:
                missed += 1
                self._now(ChildState.STUCK)
        silent = self._clock.now() - unanswered
        return f"{self.name} did not answer for {silent:.0f} s"

    async def _answers(self, within: float) -> bool:
        try:
            async with asyncio.timeout(within):
                return await self._alive()
        except Exception:  # noqa: BLE001 (a probe that fails is no answer, whatever failed in it)
            return False

    async def _stop_tree(self, pid: int, gone: asyncio.Task[int], seconds: float) -> None:
        family = descendants(pid)
        signal_group(pid, signal.SIGTERM)
        timer = asyncio.create_task(self._clock.sleep(seconds))
        await _first(gone, timer)
        timer.cancel()
        family |= descendants(pid)
        if not gone.done():
            signal_group(pid, signal.SIGKILL)
        for member in family:
            with contextlib.suppress(psutil.Error):
                member.kill()
        if not gone.done():
            timer = asyncio.create_task(self._clock.sleep(KILL_SECONDS))
            await _first(gone, timer)
            timer.cancel()

    async def _last_words(self, reading: asyncio.Task[None]) -> None:
        self._output.finish()
        timer = asyncio.create_task(self._clock.sleep(LAST_WORDS_SECONDS))
        await _first(reading, timer)
        timer.cancel()
        reading.cancel()


def ended(code: int | None) -> str:
    """The end of a sentence about a process: ``exited with 1``, ``was killed by SIGKILL``."""
    if code is None:
        return "could not be stopped"
    if code >= 0:
        return f"exited with {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}"


async def _first(*tasks: asyncio.Task[object] | asyncio.Task[int] | asyncio.Task[None]) -> None:
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
