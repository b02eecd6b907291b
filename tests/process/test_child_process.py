"""One child process, with real children."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest
import uvloop

from local_ai_suite.process import ChildProcess, ChildState, Exit, stop_tree
from local_ai_suite.process.output import PipedLog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

BOUND = 20.0
READY = "print('ready', flush=True)"


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test(), BOUND)

    asyncio.run(bounded())


def child(code: str, **options: object) -> ChildProcess:
    """A Python child that is ready once it printed ``ready``."""
    seen = asyncio.Event()

    def look(line: str) -> None:
        if line == "ready":
            seen.set()

    async def probe() -> bool:
        return seen.is_set()

    command = [sys.executable, "-c", textwrap.dedent(code)]
    return ChildProcess(
        "child",
        command,
        probe=probe,
        on_line=look,
        ready_seconds=10.0,
        **options,  # type: ignore[arg-type]
    )


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until(what: Callable[[], bool]) -> None:
    while not what():  # noqa: ASYNC110 (a process has no event to wait for)
        await asyncio.sleep(0.01)


def test_a_child_becomes_ready_and_stops_when_asked() -> None:
    async def story() -> None:
        it = child(f"import time; {READY}; time.sleep(60)")
        assert await it.ready() is None
        assert it.state is ChildState.READY
        assert it.pid is not None
        assert alive(it.pid)
        done = await it.stop()
        assert done.asked
        assert it.state is ChildState.STOPPED
        assert not alive(it.pid)

    run(story)


def test_a_child_that_exits_at_once_says_why_and_shows_its_last_words() -> None:
    async def story() -> None:
        it = child("import sys; print('no such tensor', file=sys.stderr); sys.exit(3)")
        ended = await it.ready()
        assert ended == Exit(3, asked=False, reason="child exited with 3")
        assert it.log_tail()[-1] == "no such tensor"

    run(story)


def test_a_command_that_does_not_exist_is_an_exit_with_a_reason() -> None:
    async def story() -> None:
        async def never() -> bool:
            return False

        it = ChildProcess("ghost", ["/no/such/binary"], probe=never, ready_seconds=5)
        ended = await it.ready()
        assert ended is not None
        assert ended.code is None
        assert "ghost cannot start" in ended.reason

    run(story)


def test_a_child_that_never_becomes_ready_is_stopped_within_its_bound() -> None:
    async def story() -> None:
        it = child("import time; time.sleep(60)")
        it._ready_seconds = 0.2
        ended = await it.ready()
        assert ended is not None
        assert not ended.asked
        assert ended.reason == "child was not ready after 0.2 s"
        assert it.pid is not None
        assert not alive(it.pid)

    run(story)


def test_a_probe_that_raises_ends_the_child_and_says_why() -> None:
    async def story() -> None:
        async def broken() -> bool:
            raise RuntimeError("a defect")

        it = ChildProcess(
            "child", [sys.executable, "-c", "import time; time.sleep(60)"],
            probe=broken, ready_seconds=5,
        )  # fmt: skip
        ended = await it.ready()
        assert ended is not None
        assert "a defect" in ended.reason
        assert not ended.asked
        assert it.state is ChildState.STOPPED
        assert it.pid is not None
        assert not alive(it.pid)

    run(story)


def test_a_child_that_ignores_sigterm_is_killed_after_its_bound() -> None:
    async def story() -> None:
        it = child(
            f"""
            import signal, time
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            {READY}
            time.sleep(60)
            """,
            stop_seconds=0.2,
        )
        assert await it.ready() is None
        done = await it.stop()
        assert done.code == -signal.SIGKILL
        assert done.asked

    run(story)


def test_stopping_takes_the_grandchildren_too_even_one_in_a_session_of_its_own() -> None:
    async def story() -> None:
        pids: list[int] = []
        seen = asyncio.Event()

        def look(line: str) -> None:
            if line.isdigit():
                pids.append(int(line))
                seen.set()

        async def probe() -> bool:
            return seen.is_set()

        code = (
            "import subprocess, sys, time\n"
            "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],"
            " start_new_session=True)\n"
            "print(p.pid, flush=True)\ntime.sleep(60)"
        )
        it = ChildProcess(
            "parent", [sys.executable, "-c", code], probe=probe, on_line=look, ready_seconds=10
        )
        assert await it.ready() is None
        assert alive(pids[0])
        await it.stop()
        await until(lambda: not alive(pids[0]))

    run(story)


def test_a_killed_child_is_noticed_and_was_not_asked_for() -> None:
    async def story() -> None:
        it = child(f"import time; {READY}; time.sleep(60)")
        assert await it.ready() is None
        assert it.pid is not None
        os.kill(it.pid, signal.SIGKILL)
        ended = await it.exited()
        assert ended == Exit(-9, asked=False, reason="child was killed by SIGKILL")

    run(story)


def test_a_stop_during_the_start_and_a_stop_before_it_both_end() -> None:
    async def story() -> None:
        never = child("pass")
        assert (await never.stop()).asked
        early = child("import time; time.sleep(60)")
        early.start()
        await asyncio.sleep(0)
        assert (await early.stop()).asked
        ended = await early.ready()
        assert ended is not None
        assert ended.asked

    run(story)


def test_the_log_is_bounded_and_its_file_is_private(tmp_path: Path) -> None:
    async def story() -> None:
        log = tmp_path / "logs" / "child.log"
        it = child(f"for i in range(5000): print('line', i)\nprint('x' * 100_000)\n{READY}",
                   log_file=log)  # fmt: skip
        await it.exited()
        tail = it.log_tail()
        assert len(tail) <= 400
        assert tail[-1] == "ready"
        assert max(len(line) for line in tail) <= 4000
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
        assert log.read_text().startswith("line 0\nline 1\n")

    run(story)


def test_a_log_file_beyond_its_bound_keeps_one_older_file(tmp_path: Path) -> None:
    async def story() -> None:
        log = tmp_path / "child.log"
        it = child("import sys\nfor _ in range(12): sys.stdout.write('y' * 999_999 + '\\n')",
                   log_file=log)  # fmt: skip
        await it.exited()
        assert log.stat().st_size <= 5 * 1024 * 1024
        assert set(os.listdir(tmp_path)) == {"child.log", "child.log.1"}  # noqa: PTH208

    run(story)


def test_a_child_dies_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    code = textwrap.dedent(
        """
        import asyncio, sys
        from local_ai_suite.process import ChildProcess
        async def main():
            async def yes(): return True
            it = ChildProcess("c", [sys.executable, "-c", "import time; time.sleep(60)"],
                              probe=yes, ready_seconds=10)
            await it.ready()
            print(it.pid, flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
    finally:
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + BOUND
    while alive(pid):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.01)


def test_stop_tree_stops_a_tree_that_is_not_ours_and_spares_a_reused_pid() -> None:
    code = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],"
        " start_new_session=True)\nprint(p.pid, flush=True)\ntime.sleep(60)"
    )
    root = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert root.stdout is not None
        grandchild = int(root.stdout.readline())
        created = psutil.Process(root.pid).create_time()
        assert stop_tree(root.pid, created - 1000)
        assert alive(root.pid), "another process with this pid was stopped"
        assert stop_tree(root.pid, created)
        assert not alive(root.pid)
        assert not alive(grandchild)
        assert stop_tree(root.pid, created), "a process that is gone counts as stopped"
    finally:
        root.kill()
        root.wait()


def test_who_died_and_is_never_reaped_is_not_waited_for() -> None:
    code = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(p.pid, flush=True)\ntime.sleep(60)"
    )
    careless = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert careless.stdout is not None
        pid = int(careless.stdout.readline())
        began = time.monotonic()
        assert stop_tree(pid, None, stop_seconds=2 * BOUND)
        assert time.monotonic() - began < BOUND, "it waited for a zombie"
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    finally:
        careless.kill()
        careless.wait()


def test_no_descriptor_is_closed_twice_on_the_loop_that_services_run_on() -> None:
    """Threads open files while children come and go: each keeps the file that it opened."""
    lost: list[str] = []
    done = threading.Event()

    def open_and_look() -> None:
        while not done.is_set():
            file = os.open(os.devnull, os.O_RDONLY)
            try:
                time.sleep(0)
                os.fstat(file)
                os.close(file)
            except OSError as exc:
                lost.append(str(exc))

    async def story() -> None:
        for _ in range(12):
            children = [child("print('ready', flush=True)") for _ in range(4)]
            await asyncio.gather(*(it.exited() for it in children))

    threads = [threading.Thread(target=open_and_look) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(asyncio.wait_for(story(), 60))
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not lost, lost[:3]


def test_a_log_that_cannot_be_rotated_writes_into_nobody_else_s_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local_ai_suite.process.output.LARGEST_LOG", 10)
    path = tmp_path / "child.log"
    (tmp_path / "child.log.1").mkdir()  # the old log cannot be moved there
    log = PipedLog(path, None)
    log._write(b"12345678")
    log._write(b"12345678")
    with (tmp_path / "somebody else's").open("wb", 0) as other:  # takes the number that was closed
        log._write(b"not theirs")
        log.close()
        other.write(b"theirs")
    assert (tmp_path / "somebody else's").read_bytes() == b"theirs"


def test_a_log_file_that_cannot_be_made_does_not_stop_the_child(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    log = PipedLog(tmp_path / "file" / "child.log", None)
    log._add(b"said")
    assert log.tail(1) == ["said"]
