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
from functools import partial
from typing import TYPE_CHECKING

from local_ai_suite.gateway.limits import SharedCounts
from local_ai_suite.wire.serve import Listeners

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local_ai_suite.process import ChildProcess
    from local_ai_suite.process.restarts import Backoff

# The descriptors of the parent's sockets, in a worker's environment: "7,8".
SOCKETS = "LAIS_GATEWAY_SOCKETS"
# The descriptor of the counts that the workers share.
COUNTS = "LAIS_GATEWAY_COUNTS"
# Within this a worker is up or has died; its sockets listen meanwhile, in the parent.
READY_S = 7.0
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
        backoff: Backoff | None = None,
    ) -> None:
        from local_ai_suite import process  # noqa: PLC0415 (psutil; rarely wanted)
        from local_ai_suite.process import restarts  # noqa: PLC0415

        sockets = tuple(sock.fileno() for sock in listeners)
        environment = {
            **environ,
            SOCKETS: ",".join(map(str, sockets)),
            COUNTS: str(counts.descriptor),
        }
        spawn = process.spawner(pass_fds=(*sockets, counts.descriptor))

        def make(number: int, changed: Callable[[], None]) -> ChildProcess:
            return process.ChildProcess(
                f"gateway worker {number}",
                [sys.executable, "-m", "local_ai_suite.gateway.server"],
                probe=_started,
                ready_seconds=READY_S,
                env=environment,
                on_line=_pass_on,
                on_change=changed,
                stop_seconds=STOP_S,
                spawn=spawn,
            )

        self._keepers = [
            process.Keeper(partial(make, number), backoff or restarts.WORKER)
            for number in range(2, count + 2)
        ]
        for keeper in self._keepers:
            keeper.start()

    async def stop(self) -> None:
        """End them all; each lets its answers end first."""
        await asyncio.gather(*(keeper.stop() for keeper in self._keepers))


async def _started() -> bool:
    # The sockets listen already, in the parent: what comes before a worker is up waits there or is
    # answered by another.
    return True


def _pass_on(line: str) -> None:
    sys.stderr.write(line.rstrip("\n") + "\n")


def worker_count(asked: int, environ: Mapping[str, str]) -> int:
    """How many further processes the first one starts: none in a worker."""
    return 0 if environ.get(SOCKETS) or os.name != "posix" else asked - 1
