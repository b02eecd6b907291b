"""Starting a child: a session of its own, and on Linux an end together with its parent."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


class Process(Protocol):
    """What is used of :class:`asyncio.subprocess.Process`."""

    @property
    def pid(self) -> int:
        """The system's number of it."""

    async def wait(self) -> int:
        """Its exit code, once it has ended; negative: the signal that ended it."""


# Command, environment, working folder, and the descriptor that becomes its stdout and stderr.
Spawner = Callable[[Sequence[str], Mapping[str, str], Path | None, int], Awaitable[Process]]


def spawner(*, dies_with_us: bool = True, pass_fds: Collection[int] = ()) -> Spawner:
    """Starts a command in a session of its own; raises :class:`OSError` when that fails.

    ``dies_with_us``: the kernel kills the child when this process dies (Linux). ``pass_fds`` are
    descriptors that the child keeps. The output is a descriptor of ours, not asyncio's pipe: its
    ``wait()`` would wait for a grandchild that still holds the pipe, and the death of the child
    would go unnoticed.
    """

    async def spawn(
        command: Sequence[str], env: Mapping[str, str], cwd: Path | None, output: int
    ) -> Process:
        return await asyncio.create_subprocess_exec(
            *command,
            env=dict(env),
            cwd=cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent() if dies_with_us else None,
            pass_fds=tuple(pass_fds),
        )

    return spawn


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
