"""More gateway processes on the same sockets, for ``GATEWAY_WORKERS`` above 1.

One process relays several thousand requests a second, far more than local engines answer; more are
for many slow clients on a machine with many cores. Each worker counts keys, lanes and metrics for
itself, and starts a LiteLLM of its own when it needs one.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import TYPE_CHECKING

from local_ai_suite.gateway.limits import SharedCounts
from local_ai_suite.wire.serve import Listeners

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from local_ai_suite.process import ChildProcess, Process

# The descriptors of the parent's sockets, in a worker's environment: "7,8".
SOCKETS = "LAIS_GATEWAY_SOCKETS"
# The descriptor of the counts that the workers share.
COUNTS = "LAIS_GATEWAY_COUNTS"
# A worker that dies is started again after this pause, so that one that cannot start does not spin.
PAUSE_S = 1.0
STOP_S = 7.0


def inherited(environ: Mapping[str, str]) -> Listeners | None:
    """The parent's sockets in a worker, ``None`` in the first process."""
    if not (numbers := environ.get(SOCKETS)):
        return None
    return Listeners(socket.socket(fileno=int(number)) for number in numbers.split(","))


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
        pause_s: float = PAUSE_S,
    ) -> None:
        sockets = tuple(sock.fileno() for sock in listeners)
        self._descriptors = (*sockets, counts.descriptor)
        self._environ = {
            **environ,
            SOCKETS: ",".join(map(str, sockets)),
            COUNTS: str(counts.descriptor),
        }
        self._pause_s = pause_s
        self._keepers = [asyncio.create_task(self._keep(number)) for number in range(count)]
        self._children: dict[int, ChildProcess] = {}

    @property
    def pids(self) -> list[int]:
        """The running workers."""
        return [child.pid for child in self._children.values() if child.pid is not None]

    async def stop(self) -> None:
        """End them all; each lets its answers end first."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*(child.stop() for child in self._children.values()))

    async def _keep(self, number: int) -> None:
        from local_ai_suite.process import ChildProcess  # noqa: PLC0415 (psutil; rarely wanted)

        while True:
            child = self._children[number] = ChildProcess(
                f"gateway worker {number + 2}",
                [sys.executable, "-m", "local_ai_suite.gateway.server"],
                probe=_started,
                ready_seconds=STOP_S,
                env=self._environ,
                on_line=_pass_on,
                stop_seconds=STOP_S,
                spawner=self._spawn,
            )
            await child.exited()
            await asyncio.sleep(self._pause_s)

    async def _spawn(
        self, command: Sequence[str], env: Mapping[str, str], cwd: Path | None, output: int
    ) -> Process:
        from local_ai_suite.process import die_with_parent  # noqa: PLC0415

        return await asyncio.create_subprocess_exec(
            *command,
            env=dict(env),
            cwd=cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent(),
            pass_fds=self._descriptors,
        )


async def _started() -> bool:
    # The sockets listen already, in the parent: what comes before a worker is up waits there or is
    # answered by another.
    return True


def _pass_on(line: str) -> None:
    sys.stderr.write(line.rstrip("\n") + "\n")


def worker_count(asked: int, environ: Mapping[str, str]) -> int:
    """How many further processes the first one starts: none in a worker."""
    return 0 if environ.get(SOCKETS) or os.name != "posix" else asked - 1
