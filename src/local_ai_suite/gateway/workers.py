"""More gateway processes on the same sockets, for ``GATEWAY_WORKERS`` above 1.

One process relays several thousand requests a second, far more than local engines answer; more are
for many slow clients on a machine with many cores. Each worker counts queues and metrics for
itself, and starts a LiteLLM of its own when it needs one.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from local_ai_suite.gateway.limits import SharedCounts
from local_ai_suite.wire.serve import Listeners

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from local_ai_suite.process import ChildProcess, Health, Process
    from local_ai_suite.process.restarts import Backoff

# The descriptors of the parent's sockets, in a worker's environment: "7,8".
SOCKETS = "LAIS_GATEWAY_SOCKETS"
# The descriptor of the counts that the workers share.
COUNTS = "LAIS_GATEWAY_COUNTS"
# The descriptor of a pipe into which a worker writes a byte now and then: its event loop turns.
PULSE = "LAIS_GATEWAY_PULSE"
PULSE_EVERY_S = 1.0
# A worker is up within a second or two; its sockets listen meanwhile, in the parent.
READY_S = 60.0
STOP_S = 7.0
# As long as any service of the stack is given (see `stack/supervisor.py`).
EVERY_S, WITHIN_S, MISSES, HANGING_STOP_S = 5.0, 6.0, 3, 2.0

_tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps none alive


def inherited(environ: Mapping[str, str]) -> Listeners | None:
    """The parent's sockets in a worker, ``None`` in the first process. From now on a worker tells
    its parent that its event loop turns.
    """
    if not (numbers := environ.get(SOCKETS)):
        return None
    _tasks.add(asyncio.create_task(_tell_pulse(int(environ[PULSE]))))
    return Listeners(socket.socket(fileno=int(number)) for number in numbers.split(","))


async def _tell_pulse(descriptor: int) -> None:
    os.set_blocking(descriptor, False)
    while True:
        with suppress(OSError):  # nobody reads: the parent stands still, or is gone
            os.write(descriptor, b".")
        await asyncio.sleep(PULSE_EVERY_S)


class _Pulse:
    """The parent's end of a worker's pipe; a new one for each worker."""

    def __init__(self) -> None:
        self._reader: int | None = None

    def renew(self) -> int:
        """The descriptor for the next worker; the caller closes it."""
        self.close()
        self._reader, writer = os.pipe()
        os.set_blocking(self._reader, False)
        return writer

    async def beats(self) -> bool:
        """Wait for the next sign of life, however long; what was there before does not count."""
        self._take()
        reader, loop, seen = self._reader, asyncio.get_running_loop(), asyncio.Event()
        if reader is None:
            return False
        loop.add_reader(reader, seen.set)
        try:
            await seen.wait()
        finally:
            loop.remove_reader(reader)
        return self._take()  # false at the pipe's end: the worker is gone

    def _take(self) -> bool:
        with suppress(OSError):
            return self._reader is not None and bool(os.read(self._reader, 65536))
        return False

    def close(self) -> None:
        if self._reader is not None:
            os.close(self._reader)
            self._reader = None


def shared_counts(more: int, environ: Mapping[str, str]) -> SharedCounts | None:
    """In the first process of several new ones, in the others its; ``None`` for a single one."""
    if number := environ.get(COUNTS):
        return SharedCounts(int(number))
    return SharedCounts() if more else None


class Workers:
    """``count`` further processes that serve ``listeners`` and share ``counts``."""

    def __init__(
        self,
        listeners: Listeners,
        count: int,
        environ: Mapping[str, str],
        counts: SharedCounts,
        *,
        backoff: Backoff | None = None,
        health: Health | None = None,
    ) -> None:
        from local_ai_suite import process  # noqa: PLC0415 (psutil; rarely wanted)
        from local_ai_suite.process import restarts  # noqa: PLC0415

        sockets = tuple(sock.fileno() for sock in listeners)
        environment = {
            **environ,
            SOCKETS: ",".join(map(str, sockets)),
            COUNTS: str(counts.descriptor),
        }
        descriptors = (*sockets, counts.descriptor)
        watched = health or process.Health(EVERY_S, WITHIN_S, MISSES, HANGING_STOP_S)
        self._pulses = [_Pulse() for _ in range(count)]

        def make(number: int, changed: Callable[[], None]) -> ChildProcess:
            pulse = self._pulses[number]

            async def spawn(
                command: Sequence[str], env: Mapping[str, str], cwd: Path | None, output: int
            ) -> Process:
                writer = pulse.renew()
                try:
                    start = process.spawner(pass_fds=(*descriptors, writer))
                    return await start(command, {**env, PULSE: str(writer)}, cwd, output)
                finally:
                    os.close(writer)

            return process.ChildProcess(
                f"gateway worker {number + 2}",
                [sys.executable, "-m", "local_ai_suite.gateway.server"],
                probe=pulse.beats,
                ready_seconds=READY_S,
                env=environment,
                on_line=_pass_on,
                on_change=changed,
                stop_seconds=STOP_S,
                health=watched,
                spawn=spawn,
            )

        self.keepers = [
            process.Keeper(partial(make, number), backoff or restarts.WORKER)
            for number in range(count)
        ]
        for keeper in self.keepers:
            keeper.start()

    async def stop(self) -> None:
        """End them all; each lets its answers end first."""
        await asyncio.gather(*(keeper.stop() for keeper in self.keepers))
        for pulse in self._pulses:
            pulse.close()


def _pass_on(line: str) -> None:
    sys.stderr.write(line.rstrip("\n") + "\n")


def worker_count(asked: int, environ: Mapping[str, str]) -> int:
    """How many further processes the first one starts: none in a worker."""
    return 0 if environ.get(SOCKETS) or os.name != "posix" else asked - 1
