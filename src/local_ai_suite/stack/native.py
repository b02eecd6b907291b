"""The native runtime: start and stop the supervisor, wait for it, clean up after a crash."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from local_ai_suite.errors import StackError
from local_ai_suite.messages import tr
from local_ai_suite.stack.services import phase_services
from local_ai_suite.stack.supervisor import MASTER_KEY_VARIABLE, end_tree, tail

from .state import MARKER, RunState, marked_processes, read_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local_ai_suite.paths import Paths
    from local_ai_suite.settings import Settings

# The supervisor imports Python and writes its run file; only a machine on its knees needs longer.
SUPERVISOR_TIMEOUT_S = 30.0
# Two services, each with its own grace of 15 s, and the sweep after them.
STOP_TIMEOUT_S = 45.0
POLL_S = 0.05
_KEPT_LOGS = 3


def running(paths: Paths) -> RunState | None:
    """The run whose supervisor is alive."""
    run = read_run(paths.run_file)
    return run if run and run.supervisor and run.supervisor.process() else None


def start(phase: str, settings: Settings, paths: Paths, *, digest: str) -> None:
    """Spawn the supervisor of ``phase``; returns when it has taken over.

    Raises :class:`StackError` when the supervisor ends.
    """
    phase_services(phase, settings, "")  # raises for a phase that isn't there
    for name in ("supervisor", "inference", "api-gateway"):
        _keep_old_log(paths.logs / f"{name}.log")
    log_file = paths.logs / "supervisor.log"
    environment = {
        **os.environ,
        "LAIS_PROJECT": str(paths.project),
        "LAIS_STATE": str(paths.state),
        MARKER: str(paths.project),
        # Without a key in .env the services still need one between themselves.
        MASTER_KEY_VARIABLE: settings.litellm_master_key or f"sk-{secrets.token_urlsafe(32)}",
    }
    descriptor = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            (sys.executable, "-m", "local_ai_suite.stack.supervisor", phase, digest),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            cwd=paths.project,
            env=environment,
            start_new_session=True,  # a closed terminal must not end it
        )
    finally:
        os.close(descriptor)
    deadline = time.monotonic() + SUPERVISOR_TIMEOUT_S
    while running(paths) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            with suppress(OSError):
                process.kill()
            raise StackError(
                tr("the supervisor did not start: {tail}", tail=" | ".join(tail(log_file, 3))),
                hint=tr("Its log: {log_file}", log_file=log_file),
            )
        time.sleep(POLL_S)


def sweep(paths: Paths) -> int:
    """End what a crashed run left behind; returns how many processes that were."""
    left = marked_processes(paths.project)
    end_tree(left)
    paths.run_file.unlink(missing_ok=True)
    return len(left)


def stop(paths: Paths, report: Callable[[str], None]) -> int:
    """Stop the supervisor and everything it started; returns how many processes were stopped.

    Works also after the run file or the supervisor is gone. Raises :class:`StackError` when
    something will not die.
    """
    count = len(marked_processes(paths.project))
    run = running(paths)
    supervisor = run.supervisor.process() if run and run.supervisor else None
    if supervisor is not None:
        report(tr("stopping the services"))
        with suppress(psutil.NoSuchProcess):
            supervisor.terminate()
        _, alive = psutil.wait_procs([supervisor], timeout=STOP_TIMEOUT_S)
        if alive:
            report(tr("the supervisor does not answer; killing it"))
            end_tree(alive)
    sweep(paths)
    if left := marked_processes(paths.project):
        raise StackError(
            tr(
                "these processes do not end: {left}",
                left=", ".join(str(process.pid) for process in left),
            ),
            hint=tr(
                "They wait for a device or a disk; look at them with: ps -o pid,stat,wchan,cmd"
            ),
        )
    return count


def _keep_old_log(path: Path) -> None:
    """``x.log`` becomes ``x.log.1``, and so on; the oldest goes."""
    for number in range(_KEPT_LOGS, 0, -1):
        source = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
        if source.exists():
            source.replace(path.with_name(f"{path.name}.{number}"))
