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
from local_ai_suite.paths import SETTINGS_VARIABLE
from local_ai_suite.process import end_all, wait_gone
from local_ai_suite.process.output import file_tail, open_log
from local_ai_suite.stack.phases import services_of
from local_ai_suite.stack.supervisor import MASTER_KEY_VARIABLE, STOP_GRACE_S

from .state import MARKER, RunState, keep_settings, marked_processes, read_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local_ai_suite.paths import Paths
    from local_ai_suite.settings import Settings

# The supervisor imports Python and writes its run file; only a machine on its knees needs longer.
SUPERVISOR_TIMEOUT_S = 30.0
# What a supervisor needs beyond the grace of each of its services: the sweep after them.
SWEEP_S = 15.0
# A process that a crash left behind gets this long before it is killed.
LEFT_GRACE_S = 2.0
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
    for name in ("supervisor", *(service.name for service in services_of(phase))):
        _keep_old_log(paths.logs / f"{name}.log")
    log_file = paths.logs / "supervisor.log"
    environment = {
        **os.environ,
        "LAIS_PROJECT": str(paths.project),
        "LAIS_STATE": str(paths.state),
        MARKER: str(paths.project),
        # A service that is started again has the settings that this run began with, whatever
        # became of the file since.
        SETTINGS_VARIABLE: str(keep_settings(paths)),
        # Without a key in .env the services still need one between themselves.
        MASTER_KEY_VARIABLE: settings.litellm_master_key or f"sk-{secrets.token_urlsafe(32)}",
    }
    descriptor = open_log(log_file)
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
                tr("the supervisor did not start: {tail}", tail=" | ".join(file_tail(log_file, 3))),
                hint=tr("Its log: {log_file}", log_file=log_file),
            )
        time.sleep(POLL_S)


def sweep(paths: Paths) -> int:
    """End what a crashed run left behind; returns how many processes that were."""
    left = marked_processes(paths.project)
    end_all(left, LEFT_GRACE_S)
    forget(paths)
    return len(left)


def forget(paths: Paths) -> None:
    """Remove what tells of a run."""
    paths.run_file.unlink(missing_ok=True)
    paths.run_settings.unlink(missing_ok=True)


def stop(paths: Paths, report: Callable[[str], None]) -> int:
    """Stop the supervisor and everything it started; returns how many processes were stopped.

    Works also after the run file or the supervisor is gone. Raises :class:`StackError` when
    something will not die.
    """
    count = len(marked_processes(paths.project))
    run = running(paths)
    supervisor = run.supervisor.process() if run and run.supervisor else None
    if run is not None and supervisor is not None:
        report(tr("stopping the services"))
        with suppress(psutil.NoSuchProcess):
            supervisor.terminate()
            supervisor.resume()  # one that was stopped (SIGSTOP) would not see it
        # It may be a zombie of an `up` that still waits for it, which has ended too.
        if wait_gone([supervisor], STOP_GRACE_S * len(run.services) + SWEEP_S):
            report(tr("the supervisor does not answer; killing it"))
            end_all([supervisor], LEFT_GRACE_S)
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
