"""The supervisor keeps services running, within bounds, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from local_ai_suite.paths import Paths
from local_ai_suite.process import Health, is_alive
from local_ai_suite.process.child import ASK_AGAIN_SECONDS
from local_ai_suite.process.restarts import Backoff
from local_ai_suite.stack import supervisor as supervisor_module
from local_ai_suite.stack.disk import disk_trouble
from local_ai_suite.stack.services import ServiceSpec
from local_ai_suite.stack.state import ProcessId, RunState, ServiceState, read_run, write_run
from local_ai_suite.stack.supervisor import Supervisor

WAIT_S = 30.0


@contextmanager
def supervised(paths: Paths, *specs: ServiceSpec) -> Iterator[Supervisor]:
    """A supervisor at work, on an event loop in a thread of its own."""
    paths.ensure_state()
    supervisor = Supervisor(specs, paths, "p1", "digest")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(supervisor.run()))
    thread.start()
    try:
        yield supervisor
    finally:
        loop.call_soon_threadsafe(supervisor.stop_soon)
        thread.join(WAIT_S)
        assert not thread.is_alive()
        loop.close()


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
    assert not any(is_alive(child) for child in children)
    assert not paths.run_file.exists()


def test_a_killed_service_comes_back_and_says_why_it_was_away(paths, fake_service) -> None:
    with supervised(paths, fake_service("--child")):
        first = wait_for(paths, lambda s: s.phase == "ready")
        orphan = psutil.Process(first.process.pid).children()[0]
        os.kill(first.process.pid, signal.SIGKILL)
        again = wait_for(paths, lambda s: s.phase == "ready" and s.restarts == 1)
        assert again.process.pid != first.process.pid
        assert again.reason == "it was killed by SIGKILL"
        assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_an_engine_in_a_session_of_its_own_does_not_outlive_its_service(
    paths, fake_service
) -> None:
    """As on macOS, where no kernel ends it: each engine leads a session of its own."""
    with supervised(paths, fake_service("--child-in-own-session")):
        first = wait_for(paths, lambda s: s.phase == "ready")
        orphan = psutil.Process(first.process.pid).children()[0]
        os.kill(first.process.pid, signal.SIGKILL)
        wait_for(paths, lambda s: s.restarts == 1 and s.phase == "ready")
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
        service = supervisor.services[0]
        until(lambda: service.state.restarts == 1 and service.state.phase == "ready")
        assert read_run(paths.run_file).services[0].restarts == 0, "the file lags behind"
        full.clear()
        wait_for(paths, lambda s: s.restarts == 1)
        full.set()
    assert service.state.phase == "stopped"
    assert not paths.run_file.exists()


def test_a_supervisor_that_fails_stops_its_services_and_leaves_word_of_it(
    paths, fake_service
) -> None:
    """Who waits for it must not be told that somebody stopped it."""
    paths.ensure_state()
    supervisor = Supervisor([fake_service()], paths, "p1", "digest")

    async def story() -> None:
        running = asyncio.create_task(supervisor.run())
        while supervisor.services[0].state.phase != "ready":  # noqa: ASYNC110
            await asyncio.sleep(0.02)

        def defect(*, must: bool = False) -> None:
            raise RuntimeError("a defect")

        supervisor._publish = defect
        supervisor._service_changed()
        with pytest.raises(RuntimeError, match="a defect"):
            await running

    asyncio.run(asyncio.wait_for(story(), WAIT_S))
    left = read_run(paths.run_file)
    assert left is not None
    process = left.services[0].process
    assert process is not None
    assert process.process() is None


def test_a_run_file_that_cannot_be_written_leaves_no_half_of_one(paths, monkeypatch) -> None:
    paths.ensure_state()
    monkeypatch.setattr("orjson.dumps", lambda *_a, **_k: b"x" * 100)

    def no_room(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", no_room)
    with pytest.raises(OSError, match="No space"):
        write_run(paths.run_file, RunState("native", "p1", 0.0, None, ()))
    assert {file.name for file in paths.state.iterdir()} == {"logs", "keys"}


def test_a_service_that_cannot_be_started_again_comes_back_when_the_reason_has_passed(
    paths, fake_service, monkeypatch
) -> None:
    monkeypatch.setattr(supervisor_module, "SERVICE", Backoff((0.01,)))
    spec = fake_service()
    with supervised(paths, spec):
        first = wait_for(paths, lambda s: s.phase == "ready").process
        with socket.socket() as taken:  # the port of the dead service, by another program
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            os.kill(first.pid, signal.SIGKILL)
            until(lambda: bind(taken, spec.port))
            taken.listen()
            wait_for(paths, lambda s: s.restarts > 3)
            told = wait_for(paths, lambda s: "Address already in use" in s.reason)
            assert "before it was ready" in told.reason
        wait_for(paths, lambda s: s.phase == "ready")


def bind(taken: socket.socket, port: int) -> bool:
    try:
        taken.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def test_a_full_disk_is_told_as_the_reason_of_a_death(paths, fake_service, monkeypatch) -> None:
    monkeypatch.setattr(supervisor_module, "SERVICE", Backoff((0.01,)))
    write = os.write

    def no_room(descriptor: int, data: bytes) -> int:
        if len(data) == 4096 and not any(data):  # the trial
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    with supervised(paths, fake_service()):
        first = wait_for(paths, lambda s: s.phase == "ready").process
        monkeypatch.setattr("local_ai_suite.stack.disk.os.write", no_room)
        os.kill(first.pid, signal.SIGKILL)
        told = wait_for(paths, lambda s: s.phase == "ready" and s.restarts == 1)
        assert told.reason == f"it was killed by SIGKILL; the disk of {paths.state} is full"
        assert not list(paths.state.glob(".trial*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_disk_that_is_really_full_is_called_full(tmp_path: Path) -> None:
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=False,
        capture_output=True,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip("this machine lets nobody mount a small disk")
    try:
        assert disk_trouble(tmp_path) == ""
        with suppress(OSError), (tmp_path / "fill").open("wb") as file:
            file.write(b"x" * 2**20)
        assert disk_trouble(tmp_path) == f"the disk of {tmp_path} is full"
        (tmp_path / "fill").unlink()
        assert disk_trouble(tmp_path) == ""
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_folder_that_is_gone_says_so(tmp_path: Path) -> None:
    assert "cannot be written: No such file" in disk_trouble(tmp_path / "gone")


@pytest.mark.parametrize("how", ["SIGSTOP", "block"])
def test_a_service_that_hangs_is_stuck_in_the_run_file_and_started_again(
    paths, fake_service, monkeypatch, how: str
) -> None:
    monkeypatch.setattr(
        supervisor_module, "HEALTH", Health(every=0.1, within=0.5, misses=3, stop_seconds=0.3)
    )
    spec = fake_service("--child")
    with supervised(paths, spec):
        first = wait_for(paths, lambda s: s.phase == "ready").process
        hang(first.pid, spec.port, how)
        wait_for(paths, lambda s: s.phase == "stuck")
        again = wait_for(paths, lambda s: s.phase == "ready" and s.restarts == 1)
        assert again.process.pid != first.pid
        assert re.fullmatch("it did not answer for [0-9]+ s", again.reason)
        assert first.process() is None


def hang(pid: int, port: int, how: str) -> None:
    if how == "SIGSTOP":
        os.kill(pid, signal.SIGSTOP)
        return
    with socket.create_connection(("127.0.0.1", port)) as asking:
        asking.sendall(b"GET /block HTTP/1.1\r\n\r\n")


def test_a_hanging_service_is_noticed_within_half_a_minute() -> None:
    health = supervisor_module.HEALTH
    asked_again = (health.misses - 1) * ASK_AGAIN_SECONDS
    assert health.every + health.misses * health.within + asked_again <= 25
    assert health.stop_seconds <= 5


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
    assert "it exited with 3 before it was ready" in failed.reason
    assert "the reason stands in the log" in failed.reason


def test_a_service_that_never_becomes_ready_fails_within_its_bound(paths, fake_service) -> None:
    with supervised(paths, fake_service("--never-ready", ready_timeout_s=0.5)):
        failed = wait_for(paths, lambda s: s.phase == "failed")
    assert "it was not ready after 0.5 s" in failed.reason
    assert failed.process is None


def test_a_service_that_ignores_sigterm_is_killed(paths, fake_service, monkeypatch) -> None:
    monkeypatch.setattr("local_ai_suite.stack.supervisor.STOP_GRACE_S", 0.3)
    with supervised(paths, fake_service("--ignore-sigterm")):
        process = psutil.Process(wait_for(paths, lambda s: s.phase == "ready").process.pid)
    assert not process.is_running()


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
