"""``python -m local_ai_suite.stack.supervisor PHASE``: keeps a phase's services running natively.

One process per run, detached from the terminal, and the only writer of the run file. It starts the
services in order, asks each whether it still answers, starts one that died or hangs again (see
``process/restarts.py``), and on SIGTERM stops them in reverse order, each with its whole process
tree. A service that is restarted has the settings that the run began with.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil

from local_ai_suite.log import log_to_stderr
from local_ai_suite.paths import Paths, find_paths
from local_ai_suite.process import (
    ChildProcess,
    Exit,
    Health,
    Keeper,
    OwnLog,
    answers,
    end_all,
    spawner,
)
from local_ai_suite.process.restarts import SERVICE
from local_ai_suite.settings import load_settings
from local_ai_suite.stack.services import ServiceSpec, native_services

from .disk import disk_trouble
from .state import MARKER, ProcessId, RunState, ServiceState, marked_processes, write_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

log = logging.getLogger(__name__)

MASTER_KEY_VARIABLE = "LITELLM_MASTER_KEY"
# A hanging service is known after 5 + 3 * 6 + 2 * 0.5 = 24 s at most. A service that is up answers
# from memory; 6 s three times over is no load, however busy the machine is.
HEALTH = Health(every=5.0, within=6.0, misses=3, stop_seconds=2.0)
# A service stops its engines first (10 s, see the working agreement of the services), then itself.
STOP_GRACE_S = 15.0
# What a service that died left behind gets this long before it is killed.
ORPHAN_GRACE_S = 2.0
# A run file that could not be written (a full disk) is tried again this often.
WRITE_AGAIN_S = 1.0
REASON_LINES = 5


class Supervised:
    """One service: the keeper of its process, and what the run file tells of it."""

    def __init__(self, spec: ServiceSpec, paths: Paths, on_change: Callable[[], None]) -> None:
        self.spec = spec
        self.state = ServiceState(spec.name, spec.port, "stopped")
        self._paths = paths
        self._log_file = paths.logs / f"{spec.name}.log"
        self._environment = {**os.environ, **spec.environment, MARKER: str(paths.project)}
        self._on_change = on_change
        self.keeper = Keeper(
            self._make,
            SERVICE,
            must_start=True,
            after_end=self._after_end,
            on_change=self._changed,
        )

    def _make(self, changed: Callable[[], None]) -> ChildProcess:
        spec = self.spec
        return ChildProcess(
            "it",  # the reason of an end stands behind the service's name
            spec.command,
            probe=lambda: answers(spec.port, spec.ready_path, HEALTH.within),
            alive=lambda: answers(spec.port, spec.alive_path, HEALTH.within),
            ready_seconds=spec.ready_timeout_s,
            env=self._environment,
            # It goes on, and goes on telling, when this supervisor is killed.
            output=OwnLog(self._log_file),
            spawn=spawner(dies_with_us=False),
            stop_seconds=STOP_GRACE_S,
            health=HEALTH,
            on_change=changed,
        )

    def _changed(self) -> None:
        keeper, before = self.keeper, self.state
        child = keeper.child
        pid = child.pid if child is not None and child.exit is None else None
        if pid is None:
            process = None
        elif before.process is not None and before.process.pid == pid:
            process = before.process
        else:
            process = _identity(pid)
        self.state = replace(
            before,
            phase=keeper.phase.value,
            process=process,
            since=before.since if keeper.phase == before.phase else time.time(),
            restarts=keeper.restarts,
            reason=keeper.reason,
        )
        if keeper.phase != before.phase:
            log.info("%s: %s%s", self.spec.name, keeper.phase.value, _because(self.state))
        self._on_change()

    async def _after_end(self, ended: Exit) -> str:
        """End what the dead service left behind; why it died."""
        await asyncio.to_thread(self._end_orphans)
        trouble = await asyncio.to_thread(disk_trouble, self._paths.state)
        child = self.keeper.child
        if trouble:  # and its last words could not be written
            return f"{ended.reason}; {trouble}"
        if child is None or (child.ready_at is not None and (ended.code or 0) <= 0):
            return ended.reason
        words = child.log_tail(REASON_LINES)
        early = " before it was ready" if child.ready_at is None and ended.code is not None else ""
        return f"{ended.reason}{early}" + (": " + " | ".join(words) if words else "")

    def _end_orphans(self) -> None:
        """End the processes of this run that are nobody's child here.

        Not by session: engines have sessions of their own. (On Linux the kernel ends them too.)
        """
        found = []
        for process in marked_processes(self._paths.project):
            with contextlib.suppress(psutil.Error):
                if os.getpid() not in {parent.pid for parent in process.parents()}:
                    found.append(process)
        end_all(found, ORPHAN_GRACE_S)


def _because(state: ServiceState) -> str:
    return f" ({state.reason})" if state.reason and state.phase != "ready" else ""


def _identity(pid: int) -> ProcessId | None:
    try:
        return ProcessId.of(pid)
    except psutil.Error:  # it has ended already
        return None


class Supervisor:
    """Runs the services of one phase until told to stop."""

    def __init__(self, specs: Iterable[ServiceSpec], paths: Paths, phase: str, digest: str) -> None:
        self.services = [Supervised(spec, paths, self._service_changed) for spec in specs]
        self._paths = paths
        self._run = RunState(
            runtime="native",
            stack_phase=phase,
            started=time.time(),
            supervisor=ProcessId.of(os.getpid()),
            services=(),
            settings_digest=digest,
        )
        self._changed = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._unwritten: str | None = None  # why the run file is behind

    def stop_soon(self) -> None:
        """Make :meth:`run` stop everything and return; to be called on its event loop."""
        self._stop_asked.set()
        self._changed.set()

    async def run(self) -> None:
        """Start, watch, stop. Returns when everything has ended.

        Raises :class:`OSError` when the run file cannot be written at the start: nobody could find
        what runs.
        """
        try:
            for service in self.services:
                service.keeper.start()
            self._publish(must=True)
            while not self._stop_asked.is_set():
                await self._until_something_changes()
                self._publish()
        finally:
            for service in reversed(self.services):
                await service.keeper.stop()
                if self._stop_asked.is_set():
                    self._publish()
            rest = [p for p in marked_processes(self._paths.project) if p.pid != os.getpid()]
            await asyncio.to_thread(end_all, rest, ORPHAN_GRACE_S)
            # After a failure of ours the file stays: who waits is told that, and not that somebody
            # has stopped the run.
            if self._stop_asked.is_set():
                self._paths.run_file.unlink(missing_ok=True)

    def _service_changed(self) -> None:
        self._changed.set()

    async def _until_something_changes(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WRITE_AGAIN_S if self._unwritten else None):
                await self._changed.wait()
        self._changed.clear()

    def _publish(self, *, must: bool = False) -> None:
        """Write the run file when something changed.

        A full disk must not end what runs: it is tried again, and said once.
        """
        run = replace(self._run, services=tuple(service.state for service in self.services))
        if run == self._run:
            self._unwritten = None
            return
        try:
            write_run(self._paths.run_file, run)
        except OSError as exc:
            if must:
                raise
            if self._unwritten != str(exc):
                log.warning("the run file cannot be written, status lags behind: %s", exc)
            self._unwritten = str(exc)
        else:
            self._run, self._unwritten = run, None


async def main() -> None:
    """Supervise the phase of the command line until SIGTERM."""
    phase, digest = sys.argv[1], sys.argv[2]
    paths = find_paths()
    specs = native_services(phase, load_settings(paths), os.environ[MASTER_KEY_VARIABLE])
    supervisor = Supervisor(specs, paths, phase, digest)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, supervisor.stop_soon)
    await supervisor.run()


if __name__ == "__main__":
    log_to_stderr()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the terminal that ran `up`
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal ends nothing
    asyncio.run(main())
