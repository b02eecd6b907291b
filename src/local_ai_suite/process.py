"""One child process: its states, readiness, whole-tree stop, and the end of its log.

    stopped -> starting -> ready -> stopping -> stopped
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
import ctypes
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import psutil

# A child that got SIGTERM may finish its answer and write its state; then the tree is killed.
STOP_SECONDS = 8.0
# After SIGKILL the kernel needs a moment to reap; a process in uninterruptible sleep (a dead
# network drive, a hung GPU driver) is reported instead of waited for.
KILL_SECONDS = 5.0
GONE_POLL_SECONDS = 0.05  # for who is not our child, whose end nobody tells us
# How often readiness is asked for: a model that loads in 50 ms should not wait for a slow poll.
PROBE_SECONDS = 0.02
# The pipe's end is read for this long after the child is gone; a grandchild may still hold it.
LAST_WORDS_SECONDS = 0.5
TAIL_LINES = 400
LONGEST_LINE = 4_000
LARGEST_LOG = 5 * 1024 * 1024
_CHUNK = 64 * 1024
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

Probe = Callable[[], Awaitable[bool]]


class ChildState(StrEnum):
    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
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

    def now(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def now(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Process(Protocol):
    """What is used of :class:`asyncio.subprocess.Process`."""

    @property
    def pid(self) -> int: ...
    async def wait(self) -> int: ...


Spawner = Callable[[Sequence[str], Mapping[str, str], Path | None, int], Awaitable[Process]]


async def spawn(
    command: Sequence[str], env: Mapping[str, str], cwd: Path | None, output: int
) -> Process:
    """Start ``command`` in a session of its own; its stdout and stderr are descriptor ``output``.

    The pipe is ours, not asyncio's: its ``wait()`` would wait for a grandchild that still holds
    the pipe, and the death of the child would go unnoticed.
    """
    return await asyncio.create_subprocess_exec(
        *command,
        env=dict(env),
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=die_with_parent(),
    )


def die_with_parent() -> Callable[[], None] | None:
    """What a new child calls so that the kernel kills it when its parent dies; Linux only.

    The C library is looked up here, before the fork: the child only makes two system calls.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def ask_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died between the fork and the call
            os._exit(1)

    return ask_kernel


class ChildProcess:
    """A child that is started once. ``probe`` says whether it is ready; ``on_line`` sees its log.

    ``log_file`` gets everything (mode 600; the one before is kept as ``.1`` beyond 5 MiB).
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        probe: Probe,
        ready_seconds: float,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log_file: Path | None = None,
        on_line: Callable[[str], None] | None = None,
        stop_seconds: float = STOP_SECONDS,
        clock: Clock | None = None,
        spawner: Spawner = spawn,
    ) -> None:
        self.name = name
        self.command = tuple(command)
        self.pid: int | None = None
        self.create_time: float | None = None
        self.started_at: float | None = None
        self.ready_at: float | None = None
        self._probe = probe
        self._ready_seconds = ready_seconds
        self._env = os.environ if env is None else env
        self._cwd = cwd
        self._log = _Log(log_file, on_line)
        self._stop_seconds = stop_seconds
        self._clock = clock or SystemClock()
        self._spawner = spawner
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
        return self._exit

    def log_tail(self, lines: int = TAIL_LINES) -> list[str]:
        """The last lines of its output, oldest first."""
        return self._log.tail(lines)

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
        self._state = ChildState.STARTING
        self.started_at = self._clock.now()
        reader, writer = os.pipe()
        try:
            process = await self._spawner(self.command, self._env, self._cwd, writer)
        except OSError as exc:
            os.close(reader)
            return self._end(Exit(None, asked=False, reason=f"{self.name} cannot start: {exc}"))
        finally:
            os.close(writer)
        self.pid = process.pid
        with contextlib.suppress(psutil.Error):
            self.create_time = psutil.Process(process.pid).create_time()
        reading = asyncio.create_task(self._log.read(reader))
        gone = asyncio.create_task(process.wait())
        asked = asyncio.create_task(self._stop_asked.wait())
        probing = asyncio.create_task(self._until_ready())
        late = asyncio.create_task(self._clock.sleep(self._ready_seconds))
        why: str | None = None
        try:
            await _first(gone, asked, probing, late)
            if not gone.done() and not asked.done():
                if probing.done() and (failed := probing.exception()) is not None:
                    why = f"asking {self.name} whether it is ready failed: {failed!r}"
                elif probing.done():
                    self._state = ChildState.READY
                    self.ready_at = self._clock.now()
                    self._became_ready.set()
                    late.cancel()
                    await _first(gone, asked)
                else:
                    why = f"{self.name} was not ready after {self._ready_seconds:g} s"
            if not gone.done():
                self._state = ChildState.STOPPING
                await self._stop_tree(process.pid, gone)
        finally:
            if not gone.done():  # cancelled: leave nothing behind
                _signal_group(process.pid, signal.SIGKILL)
                self._state = ChildState.STOPPED
            for task in (asked, probing, late):
                task.cancel()
            await self._last_words(reading)
        code = gone.result() if gone.done() else None
        if why is None and asked.done() and not asked.cancelled():
            return self._end(Exit(code, asked=True, reason=f"{self.name} was stopped"))
        return self._end(Exit(code, asked=False, reason=why or f"{self.name} {ended(code)}"))

    def _end(self, result: Exit) -> Exit:
        self._state = ChildState.STOPPED
        self._exit = result
        self._log.close()
        return result

    async def _until_ready(self) -> None:
        while not await self._probe():
            await self._clock.sleep(PROBE_SECONDS)

    async def _stop_tree(self, pid: int, gone: asyncio.Task[int]) -> None:
        family = _descendants(pid)
        _signal_group(pid, signal.SIGTERM)
        timer = asyncio.create_task(self._clock.sleep(self._stop_seconds))
        await _first(gone, timer)
        timer.cancel()
        family |= _descendants(pid)
        if not gone.done():
            _signal_group(pid, signal.SIGKILL)
        for member in family:
            with contextlib.suppress(psutil.Error):
                member.kill()
        if not gone.done():
            timer = asyncio.create_task(self._clock.sleep(KILL_SECONDS))
            await _first(gone, timer)
            timer.cancel()

    async def _last_words(self, reading: asyncio.Task[None]) -> None:
        timer = asyncio.create_task(self._clock.sleep(LAST_WORDS_SECONDS))
        await _first(reading, timer)
        timer.cancel()
        reading.cancel()


class _Log:
    """The bounded end of a child's output, and its file."""

    def __init__(self, path: Path | None, on_line: Callable[[str], None] | None) -> None:
        self._path = path
        self._on_line = on_line
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)
        self._rest = b""
        self._written = 0
        self._file: int | None = None
        with contextlib.suppress(OSError):
            self._file = self._open() if path else None

    def _open(self) -> int:
        assert self._path is not None  # noqa: S101
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._written = os.fstat(descriptor).st_size
        return descriptor

    async def read(self, descriptor: int) -> None:
        """Read the pipe to its end; ``descriptor`` is closed afterwards.

        Not with ``connect_read_pipe``: uvloop closes such a descriptor twice (libuv's handle, then
        the file object), and a thread that opens a file in between loses it. Seen in a soak as
        "Bad file descriptor" on an accepted connection.
        """
        os.set_blocking(descriptor, False)
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def take() -> None:
            try:
                chunk = os.read(descriptor, _CHUNK)
            except BlockingIOError:
                return
            except OSError:
                chunk = b""
            if chunk:
                self._feed(chunk)
            else:
                loop.remove_reader(descriptor)
                ended.set()

        loop.add_reader(descriptor, take)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            if self._rest:
                self._add(self._rest)

    def _feed(self, chunk: bytes) -> None:
        self._write(chunk)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._add(line)
        if len(self._rest) > LONGEST_LINE:
            self._add(self._rest)
            self._rest = b""

    def _add(self, raw: bytes) -> None:
        line = raw[:LONGEST_LINE].decode("utf-8", "replace").rstrip("\r")
        self._lines.append(line)
        if self._on_line is not None:
            self._on_line(line)

    def _write(self, chunk: bytes) -> None:
        if self._file is None or self._path is None:
            return
        # A full disk must not stop the child: its log is what we can spare.
        with contextlib.suppress(OSError):
            if self._written + len(chunk) > LARGEST_LOG:
                # Forgotten first: a closed number soon means somebody else's file or socket.
                full, self._file = self._file, None
                os.close(full)
                self._path.replace(self._path.with_name(self._path.name + ".1"))
                self._file = self._open()
            self._written += os.write(self._file, chunk)

    def tail(self, lines: int) -> list[str]:
        return list(self._lines)[-lines:] if lines > 0 else []

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = None


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


def stop_tree(pid: int, create_time: float | None, *, stop_seconds: float = STOP_SECONDS) -> bool:
    """Stop the process ``pid`` and all its descendants, from a process that is not its parent.

    ``create_time`` (as psutil gives it) guards against a pid that was used again: somebody else's
    process is left alone. SIGTERM, a bounded wait, SIGKILL. ``True`` when nothing is left.
    """
    try:
        root = psutil.Process(pid)
        if create_time is not None and abs(root.create_time() - create_time) > 1.0:
            return True
        family = {root, *root.children(recursive=True)}
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
    with contextlib.suppress(psutil.Error):
        root.terminate()
    _wait_gone([root], stop_seconds)
    for member in tuple(family):
        with contextlib.suppress(psutil.Error):
            family.update(member.children(recursive=True))
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.kill()
    return not _wait_gone(family, KILL_SECONDS)


def _wait_gone(processes: Collection[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Who of them is alive after ``seconds``. A zombie is gone: in a container without an init
    nobody ever reaps it."""
    deadline = time.monotonic() + seconds
    while (alive := [p for p in processes if _is_alive(p)]) and time.monotonic() < deadline:
        psutil.wait_procs(alive, timeout=GONE_POLL_SECONDS)
    return alive


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _descendants(pid: int) -> set[psutil.Process]:
    try:
        return set(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return set()


def _signal_group(pid: int, number: int) -> None:
    # The child leads its own group (start_new_session), whose id is its pid; until it is reaped
    # that id cannot be somebody else's.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


async def _first(*tasks: asyncio.Task[object] | asyncio.Task[int] | asyncio.Task[None]) -> None:
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
