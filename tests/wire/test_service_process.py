"""A service in a process of its own, as it runs: many clients, few descriptors, SIGTERM, a fuzz."""

from __future__ import annotations

import contextlib
import random
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest
from http_corpus import CORPUS, PATH, SECOND

SERVICE = """
import os, sys
from local_ai_suite.wire.asgi import answer, read_body
from local_ai_suite.wire.serve import Server, listen, run

held = []

async def app(scope, receive, send):
    await read_body(scope, receive, limit=10**6)
    if scope["path"] == "/take-all-descriptors":
        try:
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
    if scope["path"] == "/give-them-back":
        while held:
            os.close(held.pop())
    large = b"x" * 40 * 2**20 if scope["path"] == "/large" else b""
    await answer(send, 200, large + b"up")

async def main(stopping):
    server = Server(app, listen("127.0.0.1", 0))
    print(server.port, flush=True)
    await server.serve_until(stopping)
    return 0

sys.exit(run(main))
"""


class Process:
    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.facts, self.port = psutil.Process(process.pid), port

    def ask(self, path: bytes = b"/", on: socket.socket | None = None) -> bytes:
        with contextlib.ExitStack() as opened:
            if on is None:
                on = opened.enter_context(socket.create_connection(("127.0.0.1", self.port), 10))
            on.sendall(b"GET %b HTTP/1.1\r\nhost: localhost\r\n\r\n" % path)
            got = b""
            while not got.endswith(b"up") and (piece := on.recv(65536)):
                got += piece
            return got

    def send(self, data: bytes) -> None:
        """Send ``data``, end our side, read to the end."""
        with (
            socket.create_connection(("127.0.0.1", self.port), 10) as open_,
            contextlib.suppress(ConnectionError, TimeoutError),
        ):
            open_.settimeout(5)
            open_.sendall(data)
            open_.shutdown(socket.SHUT_WR)
            while open_.recv(1 << 20):
                pass


@contextlib.contextmanager
def process(descriptors: int | None = None) -> Iterator[Process]:
    limit = f"resource.setrlimit(resource.RLIMIT_NOFILE, ({descriptors}, {descriptors}))\n"
    script = "import resource\n" + (limit if descriptors else "") + SERVICE
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            yield Process(child, int(child.stdout.readline()))
            assert child.poll() in {None, 0}, "the service died"
        finally:
            child.kill()


def test_sigterm_lets_a_client_read_to_the_end_and_then_the_service_is_gone() -> None:
    with process() as service:
        with socket.create_connection(("127.0.0.1", service.port), 10) as open_:
            open_.sendall(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n")
            got = len(open_.recv(1000))
            service.facts.terminate()
            while piece := open_.recv(1 << 20):
                got += len(piece)
                time.sleep(0.01)
            assert got > 40 * 2**20
        assert service.facts.wait(10) == 0


def test_ten_thousand_idle_connections_cost_little_and_lock_nobody_out() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 12_000 if hard == resource.RLIM_INFINITY else min(hard, 12_000)
    count = min(10_000, most - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        with process() as service, contextlib.ExitStack() as open_:
            assert service.ask().endswith(b"up")
            before = service.facts.memory_info().rss
            for _ in range(count):
                open_.enter_context(socket.create_connection(("127.0.0.1", service.port), 10))
            assert service.ask().endswith(b"up")
            grown = service.facts.memory_info().rss - before
            assert grown < count * 8 * 1024
            assert service.facts.num_fds() < count + 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_service_with_few_descriptors_holds_fewer_connections_and_serves_all_the_same() -> None:
    with process(descriptors=160) as service, contextlib.ExitStack() as open_:
        for _ in range(300):
            open_.enter_context(socket.create_connection(("127.0.0.1", service.port), 10))
        assert service.ask().endswith(b"up")
        assert service.facts.num_fds() < 100


def test_a_service_without_descriptors_refuses_at_once_rests_and_recovers() -> None:
    with process(descriptors=300) as service:
        with socket.create_connection(("127.0.0.1", service.port), 10) as kept:
            assert service.ask(b"/take-all-descriptors", kept).endswith(b"up")
            for _ in range(5):
                with contextlib.suppress(ConnectionError):
                    assert service.ask() == b""
            used = service.facts.cpu_times().user
            time.sleep(0.5)
            assert service.facts.cpu_times().user - used < 0.2, "it spins"
            assert service.ask(b"/give-them-back", kept).endswith(b"up")
        assert service.ask().endswith(b"up")


@pytest.mark.parametrize("seed", range(2))
def test_random_bytes_leave_the_service_small_and_answering(seed: int) -> None:
    """Streams that begin as the corpus does and go on at random; a ceiling on memory."""
    dice = random.Random(seed)
    tails = [b"x: y\r\n", b"a", b"1\r\nb\r\n", b"1;ext\r\nb\r\n", b"\r\n", SECOND, b"\x00\xff"]
    starts = [case.sent for case in CORPUS if len(case.sent) < 2_000]
    starts.append(b"POST " + PATH + b" HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
    with process() as service:
        assert service.ask().endswith(b"up")
        before = service.facts.memory_info().rss
        for _ in range(150):
            start = dice.choice(starts)
            tail = (dice.choice(tails) * 60_000)[: dice.randint(0, 300_000)]
            service.send(start[: dice.randint(0, len(start))] + tail)
        assert service.ask().endswith(b"up"), f"seed {seed}"
        grown = service.facts.memory_info().rss - before
        assert grown < 48 * 2**20, f"seed {seed}: {grown / 2**20:.0f} MiB"
