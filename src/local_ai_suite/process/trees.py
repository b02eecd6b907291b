"""Ending a process with all its descendants, also from a process that is not its parent.

A zombie is gone: who did not reap its child (a parent that waits for something else, a container
without an init) must not make us wait.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

# A process that got SIGTERM may finish its answer and write its state; then the tree is killed.
STOP_SECONDS = 8.0
# After SIGKILL the kernel needs a moment to reap; a process in uninterruptible sleep (a dead
# network drive, a hung GPU driver) is reported instead of waited for.
KILL_SECONDS = 5.0
POLL_SECONDS = 0.05  # for who is not our child, whose end nobody tells us


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
    wait_gone([root], stop_seconds)
    for member in tuple(family):
        with contextlib.suppress(psutil.Error):
            family.update(member.children(recursive=True))
    return not kill(family)


def end_all(processes: Iterable[psutil.Process], grace_seconds: float) -> list[psutil.Process]:
    """SIGTERM to each, a wait of ``grace_seconds`` for all together, SIGKILL; who is left then."""
    alive = list(processes)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    return kill(wait_gone(alive, grace_seconds))


def kill(processes: Collection[psutil.Process]) -> list[psutil.Process]:
    """SIGKILL to each; who is alive 5 s later (it waits for a device or a disk)."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return wait_gone(processes, KILL_SECONDS)


def wait_gone(processes: Collection[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Who of them is alive after ``seconds``; returns as soon as nobody is."""
    deadline = time.monotonic() + seconds
    while (alive := [p for p in processes if is_alive(p)]) and time.monotonic() < deadline:
        psutil.wait_procs(alive, timeout=POLL_SECONDS)
    return alive


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs: a zombie does not, nor does another process with its pid."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def descendants(pid: int) -> set[psutil.Process]:
    """The children of ``pid`` and theirs; empty when it is gone."""
    try:
        return set(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return set()


def signal_group(pid: int, number: int) -> None:
    """Signal the group that the child ``pid`` leads (it was started in a session of its own).

    Until it is reaped that number cannot be somebody else's.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
