"""A child that is kept running: its health, its restarts, and what becomes of its words."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from local_ai_suite.process import ChildProcess, Health, Keeper, OwnLog, answers, is_alive
from local_ai_suite.process.keeper import Phase
from local_ai_suite.process.restarts import (
    ENGINE,
    LOAD,
    SERVICE,
    WINDOW_SECONDS,
    WORKER,
    Backoff,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BOUND = 30.0
QUICK = Health(every=0.05, within=0.3, misses=3, stop_seconds=0.2)
AT_ONCE = Backoff((0.01,))
# Answers each connection on the port that it is given; blocks its loop for ever at /block.
SERVER = """
import asyncio, sys, time
async def serve(reader, writer):
    line = await reader.readline()
    if b"/block" in line:
        time.sleep(3600)
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    await writer.drain()
    writer.close()
async def main():
    await (await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))).serve_forever()
asyncio.run(main())
"""


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test(), BOUND)

    asyncio.run(bounded())


async def until(what: Callable[[], object]) -> None:
    while not what():  # noqa: ASYNC110 (a process has no event to wait for)
        await asyncio.sleep(0.01)


def server(port: int, changed: Callable[[], None] | None = None) -> ChildProcess:
    return ChildProcess(
        "server",
        [sys.executable, "-c", SERVER, str(port)],
        probe=lambda: answers(port, "/", 0.3),
        ready_seconds=BOUND,
        health=QUICK,
        on_change=changed,
    )


def stop_it(child: ChildProcess) -> None:
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)


def block_its_loop(child: ChildProcess) -> None:
    port = int(child.command[-1])
    with closing(socket.create_connection(("127.0.0.1", port))) as asking:
        asking.sendall(b"GET /block HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize("hang", [stop_it, block_its_loop])
def test_a_child_that_hangs_is_told_as_stuck_then_ended_and_started_again(
    hang: Callable[[ChildProcess], None], free_port: int
) -> None:
    async def story() -> None:
        seen: list[Phase] = []
        keeper = Keeper(
            lambda changed: server(free_port, changed),
            AT_ONCE,
            on_change=lambda: seen.append(keeper.phase),
        )
        keeper.start()
        await until(lambda: keeper.phase is Phase.READY)
        first = keeper.child
        assert first is not None
        await asyncio.to_thread(hang, first)
        await until(lambda: keeper.restarts == 1 and keeper.phase is Phase.READY)
        assert Phase.STUCK in seen
        assert "did not answer for" in keeper.reason
        assert first.pid is not None
        assert not psutil.pid_exists(first.pid)
        await keeper.stop()
        assert keeper.phase is Phase.STOPPED

    run(story)


def test_a_child_that_answers_again_in_time_is_left_alone(free_port: int) -> None:
    async def story() -> None:
        child = server(free_port)
        child._health = Health(every=0.05, within=0.3, misses=1000, stop_seconds=0.2)
        assert await child.ready() is None
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)
        await until(lambda: child.state == "stuck")
        os.kill(child.pid, signal.SIGCONT)
        await until(lambda: child.state == "ready")
        assert (await child.stop()).asked

    run(story)


def test_a_probe_that_fails_is_no_answer(free_port: int) -> None:
    async def story() -> None:
        child = server(free_port)
        assert await child.ready() is None

        async def broken() -> bool:
            raise RuntimeError("a defect")

        child._alive = broken
        ended = await child.exited()
        assert not ended.asked
        assert "did not answer" in ended.reason

    run(story)


def test_a_queue_of_connections_that_is_full_is_no_answer() -> None:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = []
        try:
            for _ in range(4):  # one more than the kernel keeps, and some to spare
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
                waiting.append(one)
            assert not asyncio.run(answers(port, "/", 0.3))
        finally:
            for one in waiting:
                one.close()


def test_nobody_listening_is_no_answer(free_port: int) -> None:
    assert not asyncio.run(answers(free_port, "/", 5.0))


def test_a_child_that_ends_again_and_again_is_tried_for_ever_and_ever_more_slowly() -> None:
    waited: list[float] = []

    class Waits:
        def now(self) -> float:
            return sum(waited)

        async def sleep(self, seconds: float) -> None:
            waited.append(seconds)
            await asyncio.sleep(0)

    async def story() -> None:
        keeper = Keeper(
            lambda changed: ChildProcess(
                "child", ["/no/such/program"], probe=_yes, ready_seconds=1, on_change=changed
            ),
            SERVICE,
            clock=Waits(),
        )
        keeper.start()
        await until(lambda: keeper.restarts > 2 * len(SERVICE.delays))
        assert "cannot start" in keeper.reason
        await keeper.stop()

    run(story)
    assert tuple(waited[: len(SERVICE.delays)]) == SERVICE.delays
    assert set(waited[len(SERVICE.delays) :]) == {SERVICE.delays[-1]}


def test_a_child_that_must_start_and_does_not_is_not_tried_again() -> None:
    async def story() -> None:
        async def better(_ended: object) -> str:
            return "the reason in its log"

        keeper = Keeper(
            lambda changed: ChildProcess(
                "child", [sys.executable, "-c", "raise SystemExit(3)"],
                probe=_no, ready_seconds=BOUND, on_change=changed,
            ),
            AT_ONCE,
            must_start=True,
            after_end=better,
        )  # fmt: skip
        keeper.start()
        await until(lambda: keeper.phase is Phase.FAILED)
        assert keeper.restarts == 0
        assert keeper.reason == "the reason in its log"
        await keeper.stop()

    run(story)


def test_a_stop_during_the_pause_before_a_restart_does_not_wait_for_it() -> None:
    async def story() -> None:
        keeper = Keeper(
            lambda changed: ChildProcess(
                "child", [sys.executable, "-c", ""], probe=_yes, ready_seconds=1,
                on_change=changed,
            ),
            Backoff((10 * BOUND,)),
        )  # fmt: skip
        keeper.start()
        await until(lambda: keeper.phase is Phase.RESTARTING)
        await keeper.stop()
        assert keeper.phase is Phase.STOPPED

    run(story)


@pytest.mark.parametrize("policy", [SERVICE, WORKER, ENGINE, LOAD])
def test_each_policy_waits_longer_each_time_and_a_minute_at_most(policy: Backoff) -> None:
    assert list(policy.delays) == sorted(policy.delays)
    assert policy.delays[-1] == 60.0
    seen, now = [], 100.0
    for _ in range(len(policy.delays) + 3):
        policy = policy.ended(now)
        seen.append(policy.delay)
        now += 1
    assert seen == [*policy.delays, 60.0, 60.0, 60.0]
    assert policy.spent


def test_an_end_of_long_ago_does_not_count() -> None:
    backoff = SERVICE
    for moment in range(5):
        backoff = backoff.ended(float(moment))
    assert len(backoff) == 5
    later = backoff.ended(10.0 + WINDOW_SECONDS)
    assert len(later) == 1
    assert later.delay == SERVICE.delays[0]


def test_a_child_with_a_log_of_its_own_outlives_its_parent_and_goes_on_writing(
    tmp_path: Path,
) -> None:
    log = tmp_path / "own.log"
    code = textwrap.dedent(
        f"""
        import asyncio, sys
        from pathlib import Path
        from local_ai_suite.process import ChildProcess, OwnLog, spawner
        async def yes(): return True
        async def main():
            it = ChildProcess(
                "c", [sys.executable, "-c", {_CHATTER!r}], probe=yes, ready_seconds=10,
                output=OwnLog(Path({str(log)!r})), spawn=spawner(dies_with_us=False),
            )
            await it.ready()
            print(it.pid, flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    try:
        parent.kill()
        parent.wait()
        size = log.stat().st_size if log.exists() else 0
        deadline = threading.Event()
        for _ in range(3000):
            if log.stat().st_size > size + 100:
                break
            deadline.wait(0.01)
        assert log.stat().st_size > size + 100
        assert is_alive(child)
    finally:
        child.kill()


def test_a_log_of_its_own_that_grows_too_large_is_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local_ai_suite.process.output.LARGEST_OWN_LOG", 1000)
    monkeypatch.setattr("local_ai_suite.process.output.BOUND_EVERY_SECONDS", 0.01)
    log = tmp_path / "own.log"
    log.write_text("before\n" * 1000)

    async def story() -> None:
        child = ChildProcess(
            "c", [sys.executable, "-c", _CHATTER], probe=_yes, ready_seconds=10,
            output=OwnLog(log),
        )  # fmt: skip
        await child.ready()
        await until(lambda: log.stat().st_size <= 1000)
        await until(lambda: child.log_tail(1) == ["words"])
        await child.stop()

    run(story)


@pytest.mark.parametrize("what", ["a full disk", "a reader that is gone"])
def test_a_service_does_not_die_of_a_write_that_fails(what: str) -> None:
    """``/dev/full`` refuses each write as a full disk does."""
    code = textwrap.dedent(
        """
        import logging, sys
        from local_ai_suite.log import log_to_stderr
        log_to_stderr()
        sys.stdin.readline()
        for _ in range(100):
            print("stdout")
            sys.stderr.write("stderr\\n")
            sys.stderr.buffer.write(b"bytes\\n")
            sys.stderr.buffer.flush()
            logging.error("log")
        sys.stderr.flush()
        raise SystemExit(7)
        """
    )
    if what == "a full disk":
        output: int = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, output = os.pipe()
        os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=output, stderr=output, input=b"\n", timeout=BOUND,
        check=False,
    )  # fmt: skip
    os.close(output)
    assert done.returncode == 7


_CHATTER = "import time\nwhile True: print('words', flush=True); time.sleep(0.005)"


async def _yes() -> bool:
    return True


async def _no() -> bool:
    return False
