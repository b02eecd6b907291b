"""Every state of a client's connection has an end: in time, in bytes, in number; and a hang-up."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
import uvloop

from local_ai_suite.wire import asgi
from local_ai_suite.wire.asgi import App, Receive, Scope, Send, answer, read_body
from local_ai_suite.wire.serve import Server, listen

GET = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
EXPECTING = (
    b"POST / HTTP/1.1\r\nhost: localhost\r\nexpect: 100-CONTINUE\r\ncontent-length: 2\r\n\r\n"
)
OLD = b"GET / HTTP/1.0\r\n\r\n"


class Slow:
    """An application that answers after ``seconds``, and keeps count of who left it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.begun, self.left = asyncio.Semaphore(0), asyncio.Semaphore(0)
        self.left_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun.release()
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.left_at = time.monotonic()
            self.left.release()
            raise
        await answer(send, 200, b"slow answer")


async def ok(scope: Scope, receive: Receive, send: Send) -> None:
    await read_body(scope, receive, limit=10**6)
    await answer(send, 200, b"ok")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for ``condition``; the test's own bound ends it."""
    while not condition():  # noqa: ASYNC110 (it asks another's state, which has no event)
        await asyncio.sleep(0.01)


def run(main: Callable[[], Coroutine[Any, Any, None]], loop: str = "uvloop") -> None:
    """``main`` on the event loop that the services run on, or on asyncio's own."""
    factory = uvloop.new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


both_loops = pytest.mark.parametrize("loop", ["uvloop", "asyncio"])


@asynccontextmanager
async def served(app: App, **options: float | int) -> AsyncIterator[Server]:
    async with asyncio.timeout(30), Server(app, listen("127.0.0.1", 0), **options) as server:
        yield server


@asynccontextmanager
async def client(
    server: Server, sent: bytes = b""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(sent)
        yield reader, writer
    finally:
        writer.close()


# A client that ends its side


@both_loops
@pytest.mark.parametrize("sent", [GET, OLD])
def test_a_half_closed_client_gets_its_answer(sent: bytes, loop: str) -> None:
    async def main() -> None:
        async with served(Slow(0.3)) as server, client(server, sent) as (reader, writer):
            writer.write_eof()
            assert (await reader.read()).endswith(b"\r\n\r\nslow answer")

    run(main, loop)


@both_loops
def test_a_half_closed_client_gets_all_of_its_pipelined_answers(loop: str) -> None:
    async def main() -> None:
        async with served(Slow(0.05)) as server, client(server, GET * 3) as (reader, writer):
            writer.write_eof()
            assert (await reader.read()).count(b"slow answer") == 3

    run(main, loop)


@both_loops
@pytest.mark.parametrize("sent", [GET, OLD, GET * 3])
def test_a_client_that_is_gone_frees_its_request_though_it_looks_half_closed(
    sent: bytes, loop: str
) -> None:
    async def main() -> None:
        app = Slow(60)
        async with served(app) as server:
            async with client(server, sent):
                await app.begun.acquire()
            gone = time.monotonic()
            await app.left.acquire()
            # HTTP/1.0 has no interim answers to ask it by: it is given two seconds.
            assert app.left_at - gone < (5.0 if sent == OLD else 1.0)

    run(main, loop)


@both_loops
def test_a_client_that_leaves_a_begun_answer_frees_it_at_once(loop: str) -> None:
    async def main() -> None:
        left = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            try:
                await asyncio.sleep(60)
            finally:
                left.set()

        async with served(app) as server:
            async with client(server, GET) as (reader, _):
                await reader.readuntil(b"first")
            await left.wait()

    run(main, loop)


# Time


@pytest.mark.parametrize(
    "begun",
    [
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nfffff\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1;",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ",
        b"GET /",
    ],
)
def test_what_comes_byte_by_byte_is_a_408_in_time_whatever_it_is(begun: bytes) -> None:
    """Slow heads, bodies, chunk extensions and trailers, for an application without a bound."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        await answer(send, 200, b"ok")

    async def main() -> None:
        limits = {"head_timeout_s": 0.4, "body_timeout_s": 0.4}
        async with served(app, **limits) as server, client(server, begun) as (reader, writer):

            async def drip() -> None:
                while True:
                    writer.write(b"1")
                    await asyncio.sleep(0.02)

            dripping = asyncio.ensure_future(drip())
            try:
                assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
            finally:
                dripping.cancel()

    run(main)


def test_a_slow_and_steady_reader_gets_all_of_a_large_answer() -> None:
    size = 24 * 1024 * 1024

    async def main() -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(send, 200, b"x" * size)

        async with served(app, stall_s=0.5) as server:
            loop = asyncio.get_running_loop()
            with socket.socket() as reader:
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
                reader.setblocking(False)
                await loop.sock_connect(reader, ("127.0.0.1", server.port))
                await loop.sock_sendall(reader, GET)
                got, begun = 0, time.monotonic()
                while got < size and (piece := await loop.sock_recv(reader, 1 << 20)):
                    got += len(piece)
                    await asyncio.sleep(0.04)
                assert got >= size
                assert time.monotonic() - begun > 1.2, "it was not slow, so it shows nothing"

    run(main)


def test_a_finished_answer_that_nobody_takes_is_dropped() -> None:
    async def main() -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(send, 200, b"x" * 50_000_000)

        async with served(app, stall_s=0.3) as server, client(server, GET) as (_, writer):
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await until(lambda: server.connections() == 1)
            await until(lambda: server.connections() == 0)

    run(main)


def test_stopping_lets_a_client_read_to_the_end_what_is_already_written() -> None:
    size = 40 * 1024 * 1024

    async def main() -> None:
        written = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(send, 200, b"x" * size)
            written.set()

        async with served(app) as server, client(server, GET) as (reader, _):
            await written.wait()
            stopping = asyncio.ensure_future(server.stop(20))
            got = 0
            while piece := await reader.read(1 << 20):
                got += len(piece)
                await asyncio.sleep(0.005)
            assert got > size
            await stopping

    run(main)


def test_one_writer_that_gives_up_does_not_cancel_the_other() -> None:
    """A heartbeat and an answer wait for the same slow client; the heartbeat is called off."""

    async def main() -> None:
        done = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            part = {"type": "http.response.body", "body": b"x" * 30_000_000, "more_body": True}
            await send(part)
            heartbeat = asyncio.ensure_future(send(part))
            last = asyncio.ensure_future(send({"type": "http.response.body", "body": b"end"}))
            await asyncio.sleep(0.05)
            assert not heartbeat.done()
            heartbeat.cancel()
            await last
            done.set()

        async with served(app) as server, client(server, GET) as (reader, _):
            await asyncio.sleep(0.1)
            got = b""
            while not got.endswith(b"end\r\n0\r\n\r\n"):
                got = got[-20:] + await reader.read(1 << 20)
            await done.wait()

    run(main)


# Order and number


def test_bodies_that_stop_short_of_their_end_share_one_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asgi, "ARRIVING_BYTES", 1_000_000)
    half = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 400000\r\n\r\n" + b"x" * 399_999

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(scope, receive, limit=400_000)
        except asgi.BodyError as exc:
            await answer(send, exc.http_status, b"refused")
        else:
            await answer(send, 200, b"%d" % len(body))

    async def main() -> None:
        async with served(app) as server, contextlib.AsyncExitStack() as open_:
            clients = [await open_.enter_async_context(client(server, half)) for _ in range(5)]
            reading = [asyncio.ensure_future(reader.readuntil(b"refused")) for reader, _ in clients]
            await until(lambda: sum(task.done() for task in reading) == 3)
            refused = [task for task in reading if task.done()]
            assert all(task.result().startswith(b"HTTP/1.1 503 ") for task in refused)
            # Who was first is served as ever, and the rest is free for others again.
            for task, (reader, writer) in zip(reading, clients, strict=True):
                if not task.done():
                    task.cancel()
                    await asyncio.wait([task])
                    writer.write(b"x")
                    assert (await reader.readuntil(b"400000")).startswith(b"HTTP/1.1 200 ")
            assert asgi._Arriving.total == 0

    run(main)


@pytest.mark.parametrize("begun", [b"nonsense\r\n\r\n", OLD])
def test_who_goes_on_sending_what_nobody_reads_is_cut_off(begun: bytes) -> None:
    """After a refusal, and after a last request whose answer takes its time."""

    async def main() -> None:
        async with served(Slow(60)) as server, client(server, begun) as (_, writer):
            sent = 0
            with contextlib.suppress(ConnectionError):
                while sent < 500_000_000:
                    writer.write(b"x" * 65536)
                    sent += 65536
                    await writer.drain()
            assert sent < 100_000_000

    run(main)


def test_a_fault_behind_a_good_request_is_told_after_its_answer() -> None:
    async def main() -> None:
        async with (
            served(Slow(0.1)) as server,
            client(server, GET + b"nonsense\r\n\r\n") as (reader, _),
        ):
            got = await reader.read()
            assert got.startswith(b"HTTP/1.1 200 ")
            assert got.index(b"slow answer") < got.index(b"HTTP/1.1 400 ")

    run(main)


def test_more_pipelined_requests_than_may_wait_are_all_answered_in_their_order() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive, limit=10**6)
        await asyncio.sleep(0.001)
        await answer(send, 200, b"<%b %d>" % (scope["raw_path"], len(body)))

    async def main() -> None:
        sent, expected = b"", []
        for n in range(120):
            size = 90_000 if n % 10 == 0 else n
            head = b"POST /%d HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n"
            sent += head % (n, size) + b"x" * size
            expected.append(b"</%d %d>" % (n, size))
        async with served(app) as server, client(server, sent) as (reader, writer):
            writer.write_eof()
            got = await reader.read()
            assert re.findall(rb"<[^>]*>", got) == expected

    run(main)


def test_who_expects_leave_to_send_too_much_gets_none() -> None:
    head = EXPECTING.replace(b"content-length: 2", b"content-length: 2000000")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await read_body(scope, receive, limit=10**6)
        except asgi.BodyTooLarge as exc:
            await answer(send, exc.http_status, b"too large")

    async def main() -> None:
        async with served(app) as server, client(server, head) as (reader, _):
            assert (await reader.read()).startswith(b"HTTP/1.1 413 ")

    run(main)


def test_an_expectation_is_met_before_the_body_comes() -> None:
    async def main() -> None:
        async with served(ok) as server, client(server, EXPECTING) as (reader, writer):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"hi")
            assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 ")

    run(main)


def test_a_new_client_takes_the_place_of_the_one_that_was_idle_longest() -> None:
    async def main() -> None:
        async with served(ok, max_connections=3) as server, contextlib.AsyncExitStack() as open_:
            idle = [await open_.enter_async_context(client(server)) for _ in range(3)]
            await until(lambda: server.connections() == 3)
            reader, _ = await open_.enter_async_context(client(server, GET))
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
            with contextlib.suppress(ConnectionError):
                assert await idle[0][0].read() == b""
            idle[2][1].write(GET)
            assert (await idle[2][0].readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
            assert server.connections() == 3

    run(main)


def test_when_all_are_busy_a_new_client_is_told_so_and_a_flood_is_cut_off() -> None:
    async def main() -> None:
        app = Slow(60)
        async with served(app, max_connections=2) as server, contextlib.AsyncExitStack() as open_:
            for _ in range(2):
                await open_.enter_async_context(client(server, GET))
                await app.begun.acquire()
            async with client(server, GET) as (reader, _):
                got = await reader.read()
            head, _, body = got.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 1" in head
            assert orjson.loads(body)["error"]["code"] == "too_many_connections"
            flood = [await open_.enter_async_context(client(server)) for _ in range(200)]
            await asyncio.sleep(0.1)
            assert server.connections() < 50
            assert len(flood) == 200

    run(main)
