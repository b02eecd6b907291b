"""The supervisor keeps services running, within bounds, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import psutil
import pytest

from local_ai_suite.paths import Paths
from local_ai_suite.stack import restarts
from local_ai_suite.stack import supervisor as supervisor_module
from local_ai_suite.stack.services import ServiceSpec
from local_ai_suite.stack.state import ProcessId, RunState, ServiceState, read_run, write_run
from local_ai_suite.stack.supervisor import Supervisor

WAIT_S = 30.0


@contextmanager
def supervised(paths: Paths, spec: ServiceSpec) -> Iterator[Supervisor]:
    paths.ensure_state()
    supervisor = Supervisor([spec], paths, "p1", "digest")
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        yield supervisor
    finally:
        supervisor.stop_soon()
        thread.join(WAIT_S)
        assert not thread.is_alive()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def wait_for(paths: Paths, wanted: Callable[[ServiceState], bool]) -> ServiceState:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        run = read_run(paths.run_file)
        if run and run.services and wanted(run.services[0]):
            return run.services[0]
        time.sleep(0.02)
    raise AssertionError(f"never seen; last: {read_run(paths.run_file)}")


def test_a_service_becomes_ready_and_is_gone_after_stop(paths, fake_service) -> None:
    with supervised(paths, fake_service("--child")):
        ready = wait_for(paths, lambda s: s.phase == "ready")
        tree = psutil.Process(ready.process.pid)
        children = tree.children(recursive=True)
        assert children
        assert paths.run_file.stat().st_mode & 0o777 == 0o600
    assert not tree.is_running()
    assert not any(child.is_running() for child in children)
    assert not paths.run_file.exists()


def test_a_killed_service_comes_back_and_says_why_it_was_away(paths, fake_service) -> None:
    with supervised(paths, fake_service("--child")):
        first = wait_for(paths, lambda s: s.phase == "ready")
        orphan = psutil.Process(first.process.pid).children()[0]
        os.kill(first.process.pid, signal.SIGKILL)
        again = wait_for(paths, lambda s: s.phase == "ready" and s.restarts == 1)
        assert again.process.pid != first.process.pid
        assert again.reason == "killed by SIGKILL"
        assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_an_engine_in_a_session_of_its_own_does_not_outlive_its_service(
    paths, fake_service
) -> None:
    """As on macOS, where no kernel ends it: each engine leads a session of its own."""
    with supervised(paths, fake_service("--child-in-own-session")):
        first = wait_for(paths, lambda s: s.phase == "ready")
        orphan = psutil.Process(first.process.pid).children()[0]
        os.kill(first.process.pid, signal.SIGKILL)
        wait_for(paths, lambda s: s.restarts == 1)
        assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_a_full_disk_does_not_end_what_runs(paths, fake_service, monkeypatch) -> None:
    full = threading.Event()
    write = supervisor_module.write_run

    def write_if_there_is_room(path, run) -> None:
        if full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, run)

    monkeypatch.setattr(supervisor_module, "write_run", write_if_there_is_room)
    with supervised(paths, fake_service()) as supervisor:
        first = wait_for(paths, lambda s: s.phase == "ready").process
        full.set()
        os.kill(first.pid, signal.SIGKILL)
        service = supervisor._services[0]
        until(lambda: service.state.restarts == 1 and service.state.phase == "ready")
        assert read_run(paths.run_file).services[0].restarts == 0, "the file lags behind"
        full.clear()
        wait_for(paths, lambda s: s.restarts == 1)
        full.set()
    assert service.state.phase == "stopped"
    assert not paths.run_file.exists()


def test_a_run_file_that_cannot_be_written_leaves_no_half_of_one(paths, monkeypatch) -> None:
    paths.ensure_state()
    monkeypatch.setattr("orjson.dumps", lambda *_a, **_k: b"x" * 100)

    def no_room(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", no_room)
    with pytest.raises(OSError, match="No space"):
        write_run(paths.run_file, RunState("native", "p1", 0.0, None, ()))
    assert {file.name for file in paths.state.iterdir()} == {"logs", "keys"}


def test_a_service_that_cannot_be_started_again_uses_its_budget_and_fails_alone(
    paths, fake_service, monkeypatch
) -> None:
    monkeypatch.setattr(restarts, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(restarts, "LONGEST_DELAY_S", 0.01)
    with supervised(paths, fake_service()):
        first = wait_for(paths, lambda s: s.phase == "ready").process

        def no_process(*_a, **_k):
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

        monkeypatch.setattr("subprocess.Popen.__init__", no_process)
        os.kill(first.pid, signal.SIGKILL)
        failed = wait_for(paths, lambda s: s.phase == "failed")
    assert "cannot be started" in failed.reason
    assert failed.restarts == restarts.MOST_IN_WINDOW


def test_a_service_that_even_sigkill_does_not_end_is_not_waited_for_forever(
    paths, fake_service
) -> None:
    """A process in uninterruptible sleep, on a dead disk or a hung GPU driver."""

    class Stuck:
        pid = 2**22 + 1  # above the kernel's largest

        def poll(self) -> None:
            return None

        def terminate(self) -> None:
            pass

        def wait(self, seconds: float) -> None:
            raise subprocess.TimeoutExpired("stuck", seconds)

    service = supervisor_module.Supervised(fake_service(), paths)
    service._process = Stuck()
    service.stop()
    assert service.state.phase == "stopped"


def test_a_clock_that_was_set_changes_nobody_s_identity(monkeypatch) -> None:
    mine = ProcessId.of(os.getpid())
    told = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: told(self) + 3600)
    if sys.platform == "linux":
        assert mine.process() is not None
    assert replace(mine, boot="an earlier one").process() is None


def test_a_service_that_never_started_is_not_started_again(paths, fake_service) -> None:
    with supervised(paths, fake_service("--exit-at-once", "3")):
        failed = wait_for(paths, lambda s: s.phase == "failed")
    assert failed.restarts == 0
    assert "exit code 3" in failed.reason
    assert "the reason stands in the log" in failed.reason


def test_a_service_that_never_becomes_ready_fails_within_its_bound(paths, fake_service) -> None:
    with supervised(paths, fake_service("--never-ready", ready_timeout_s=0.5)):
        failed = wait_for(paths, lambda s: s.phase == "failed")
    assert "not ready within" in failed.reason
    assert failed.process is None


def test_a_service_that_ignores_sigterm_is_killed(paths, fake_service, monkeypatch) -> None:
    monkeypatch.setattr("local_ai_suite.stack.supervisor.STOP_GRACE_S", 0.3)
    with supervised(paths, fake_service("--ignore-sigterm")):
        process = psutil.Process(wait_for(paths, lambda s: s.phase == "ready").process.pid)
    assert not process.is_running()


def test_restarts_slow_down_and_end() -> None:
    budget, delays, now = restarts.RestartBudget(), [], 100.0
    while (delay := budget.next_delay(now)) is not None:
        delays.append(delay)
        budget = budget.spend(now)
        now += 1
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_an_old_restart_does_not_count() -> None:
    budget = restarts.RestartBudget()
    for moment in range(5):
        budget = budget.spend(float(moment))
    assert budget.next_delay(10.0) is None
    assert budget.next_delay(10.0 + restarts.WINDOW_S) == 0.5


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"runtime": 1}', b"\xff\xfe"])
def test_half_a_run_file_is_no_run_file(paths: Paths, content: bytes) -> None:
    paths.ensure_state()
    paths.run_file.write_bytes(content)
    assert read_run(paths.run_file) is None


def test_a_pid_used_again_is_not_believed(paths: Paths) -> None:
    paths.ensure_state()
    mine = ProcessId.of(os.getpid())
    stale = ProcessId(mine.pid, mine.started - 100)
    write_run(paths.run_file, RunState("native", "p1", 0.0, stale, ()))
    run = read_run(paths.run_file)
    assert run is not None
    assert run.supervisor is not None
    assert run.supervisor.process() is None
    assert mine.process() is not None
