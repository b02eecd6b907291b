"""``python -m local_ai_suite.stack.supervisor PHASE``: keeps a phase's services running natively.

One process per run, detached from the terminal, and the only writer of the run file. It starts the
services in order, watches them, starts a dead one again within a bounded budget, and on SIGTERM
stops them in reverse order, each with its whole process tree.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil

from local_ai_suite.log import log_to_stderr
from local_ai_suite.paths import Paths, find_paths
from local_ai_suite.settings import load_settings
from local_ai_suite.stack import probe
from local_ai_suite.stack.restarts import RestartBudget
from local_ai_suite.stack.services import ServiceSpec, phase_services

from .state import MARKER, ProcessId, RunState, ServiceState, marked_processes, write_run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

log = logging.getLogger(__name__)

MASTER_KEY_VARIABLE = "LITELLM_MASTER_KEY"
# Death is seen within this; polling two pids costs nothing.
TICK_S = 0.1
# Between two questions whether a starting service is ready.
READY_EVERY_S = 0.1
# A service stops its engines first (10 s, see the working agreement of the services), then itself.
STOP_GRACE_S = 15.0
KILL_WAIT_S = 5.0
# One service's log; emptied when it grows past this, so that a busy gateway can't fill a disk.
LARGEST_LOG_BYTES = 64 * 1024 * 1024
REASON_LINES = 5


class Supervised:
    """One service and its process; :meth:`tick` is the only place that changes its state."""

    def __init__(self, spec: ServiceSpec, paths: Paths) -> None:
        self.spec = spec
        self.log_file = paths.logs / f"{spec.name}.log"
        self.state = ServiceState(spec.name, spec.port, "stopped")
        self._project = paths.project
        self._environment = {**os.environ, **spec.environment, MARKER: str(paths.project)}
        self._process: subprocess.Popen[bytes] | None = None
        self._budget = RestartBudget()
        self._next_start = 0.0
        self._next_probe = 0.0
        self._deadline = 0.0
        self._was_ready = False

    def start(self) -> None:
        descriptor = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = subprocess.Popen(
                self.spec.command,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                env=self._environment,
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
        now = time.monotonic()
        self._deadline = now + self.spec.ready_timeout_s
        self._next_probe = now
        self.state = replace(
            self.state,
            phase="starting",
            process=ProcessId.of(self._process.pid),
            since=time.time(),
        )
        log.info("%s started, pid %d", self.spec.name, self._process.pid)

    def tick(self, now: float) -> None:
        if self.state.phase == "restarting" and now >= self._next_start:
            try:
                self.start()
            except OSError as exc:  # no more processes or memory: that passes, or the budget ends
                self._not_running(f"cannot be started: {exc}", now)
        if self._process is None:
            return
        if (code := self._process.poll()) is not None:
            self._died(code, now)
        elif self.state.phase == "starting" and now >= self._next_probe:
            self._ask_ready(now)
        self._bound_log()

    def _ask_ready(self, now: float) -> None:
        answer = probe.ask(self.spec.port, self.spec.ready_path, timeout_s=1.0)
        if answer is not None and answer[0] == 200:
            self._was_ready = True
            self.state = replace(self.state, phase="ready", since=time.time())
            log.info("%s is ready", self.spec.name)
        elif now > self._deadline:
            reason = f"not ready within {self.spec.ready_timeout_s:.0f} s"
            log.error("%s: %s", self.spec.name, reason)
            self.stop()
            self.state = replace(self.state, phase="failed", reason=reason)
        else:
            self._next_probe = now + READY_EVERY_S

    def _died(self, code: int, now: float) -> None:
        end_tree(self._orphans())
        self._process = None
        self._not_running(_describe_exit(code), now)

    def _not_running(self, reason: str, now: float) -> None:
        delay = self._budget.next_delay(now) if self._was_ready else None
        if delay is None:
            why = "" if self._was_ready else " before it was ready"
            self.state = replace(
                self.state,
                phase="failed",
                process=None,
                reason=f"{reason}{why}{self._last_words()}",
            )
            log.error("%s failed: %s", self.spec.name, self.state.reason)
            return
        self._budget = self._budget.spend(now)
        self._next_start = now + delay
        self.state = replace(
            self.state,
            phase="restarting",
            process=None,
            restarts=self.state.restarts + 1,
            reason=reason,
        )
        log.warning("%s died (%s); starting it again in %.1f s", self.spec.name, reason, delay)

    def stop(self) -> None:
        """End the service and everything it started; bounded, also when it ignores SIGTERM."""
        if self._process is not None and self._process.poll() is None:
            tree = _tree(self._process.pid)
            self._process.terminate()
            try:
                self._process.wait(STOP_GRACE_S)
            except subprocess.TimeoutExpired:
                log.warning("%s ignored SIGTERM for %.0f s", self.spec.name, STOP_GRACE_S)
            end_tree(tree)
            try:
                self._process.wait(KILL_WAIT_S)
            except subprocess.TimeoutExpired:  # it waits for a device or a disk
                log.warning("%s (pid %d) does not end", self.spec.name, self._process.pid)
        self._process = None
        self.state = replace(self.state, phase="stopped", process=None, since=time.time())

    def _orphans(self) -> list[psutil.Process]:
        """What the dead service left behind: processes of this run that are nobody's child here.

        Not by session: engines have sessions of their own. (On Linux the kernel ends them too.)
        """
        found = []
        for process in marked_processes(self._project):
            try:
                if os.getpid() not in {parent.pid for parent in process.parents()}:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def _last_words(self) -> str:
        lines = tail(self.log_file, REASON_LINES)
        return ": " + " | ".join(lines) if lines else ""

    def _bound_log(self) -> None:
        try:
            if self.log_file.stat().st_size > LARGEST_LOG_BYTES:
                os.truncate(self.log_file, 0)  # opened with O_APPEND, so writing goes on
        except OSError:
            pass


def _describe_exit(code: int) -> str:
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exit code {code}"


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [*process.children(recursive=True), process]
    except psutil.Error:
        return []


def end_tree(processes: Iterable[psutil.Process], grace_s: float = 2.0) -> None:
    """SIGTERM, a short wait, SIGKILL; processes that are gone already are fine."""
    alive = list(processes)
    for process in alive:
        try:
            process.terminate()
        except psutil.Error:
            continue
    _, alive = psutil.wait_procs(alive, timeout=grace_s)
    for process in alive:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(alive, timeout=KILL_WAIT_S)


def tail(path: Path, lines: int) -> list[str]:
    """The last non-empty ``lines`` of a text file, read from its end."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]


class Supervisor:
    """Runs the services of one phase until told to stop."""

    def __init__(self, specs: Iterable[ServiceSpec], paths: Paths, phase: str, digest: str) -> None:
        self._services = [Supervised(spec, paths) for spec in specs]
        self._paths = paths
        self._run = RunState(
            runtime="native",
            stack_phase=phase,
            started=time.time(),
            supervisor=ProcessId.of(os.getpid()),
            services=(),
            settings_digest=digest,
        )
        self._stopping = False
        self._unwritten: str | None = None  # why the run file is behind

    def stop_soon(self, *_: object) -> None:
        self._stopping = True

    def run(self) -> None:
        """Start, watch, stop. Returns when everything has ended."""
        try:
            for service in self._services:
                service.start()
                self._publish(must=True)
            while not self._stopping:
                now = time.monotonic()
                for service in self._services:
                    service.tick(now)
                self._publish()
                time.sleep(TICK_S)
        finally:
            for service in reversed(self._services):
                service.stop()
                self._publish()
            end_tree(p for p in marked_processes(self._paths.project) if p.pid != os.getpid())
            self._paths.run_file.unlink(missing_ok=True)

    def _publish(self, *, must: bool = False) -> None:
        """Write the run file when something changed.

        A full disk must not end what runs: it is tried again, and said once.
        """
        run = replace(self._run, services=tuple(service.state for service in self._services))
        if run == self._run:
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


def main() -> None:
    phase, digest = sys.argv[1], sys.argv[2]
    log_to_stderr()
    paths = find_paths()
    settings = load_settings(paths)
    specs = phase_services(phase, settings, os.environ[MASTER_KEY_VARIABLE])
    supervisor = Supervisor(specs, paths, phase, digest)
    signal.signal(signal.SIGTERM, supervisor.stop_soon)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the terminal that ran `up`
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal ends nothing
    supervisor.run()


if __name__ == "__main__":
    main()
