"""The pass-through client against a socket that a test scripts byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from local_ai_suite.wire import upstream as module
from local_ai_suite.wire.upstream import (
    Exchange,
    Upstream,
    UpstreamClosed,
    UpstreamGarbage,
    UpstreamTimeout,
    UpstreamUnreachable,
    forwardable,
)

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
Script = Callable[[Reader, Writer], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def read_request(reader: Reader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if b"content-length" in line), 0
    )
    return head + await reader.readexactly(length)


class Fake:
    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.lost = asyncio.Event()

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        try:
            await self.script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.lost.set()
        finally:
            writer.close()


@asynccontextmanager
async def faked(script: Script, **options: float) -> AsyncIterator[tuple[Fake, Upstream]]:
    fake = Fake(script)
    server = await asyncio.start_server(fake, "127.0.0.1", 0)
    upstream = Upstream("127.0.0.1", server.sockets[0].getsockname()[1], **options)
    try:
        async with asyncio.timeout(10):
            yield fake, upstream
    finally:
        upstream.close()
        server.close()


async def whole(exchange: Exchange) -> bytes:
    try:
        await exchange.head()
        return await exchange.read_all(10**9)
    finally:
        exchange.close()


def test_a_connection_is_used_again_and_the_request_goes_out_as_given() -> None:
    seen: list[bytes] = []

    async def script(reader: Reader, writer: Writer) -> None:
        while True:
            seen.append(await read_request(reader))
            writer.write(OK)

    async def main() -> None:
        async with faked(script) as (fake, upstream):
            for _ in range(3):
                exchange = await upstream.start("POST", "/x?y=1", [(b"a", b"b")], b"{}")
                assert await whole(exchange) == b"ok"
            assert fake.connections == 1
            assert upstream.busy == 0

    asyncio.run(main())
    assert seen[0].startswith(b"POST /x?y=1 HTTP/1.1\r\nhost: 127.0.0.1:")
    assert seen[0].endswith(b"\r\na: b\r\ncontent-length: 2\r\n\r\n{}")


def test_pieces_are_handed_on_as_they_come() -> None:
    step = asyncio.Event

    async def main() -> None:
        go = step()

        async def script(reader: Reader, writer: Writer) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            for text in (b"one", b"two"):
                writer.write(b"3\r\n" + text + b"\r\n")
                await go.wait()
                go.clear()
            writer.write(b"0\r\n\r\n")

        async with faked(script) as (_, upstream):
            exchange = await upstream.start("GET", "/")
            await exchange.head()
            for text in (b"one", b"two"):
                assert await exchange.read() == text
                assert not exchange.at_end
                go.set()
            assert await exchange.read() == b""
            assert exchange.at_end
            exchange.close()

    asyncio.run(main())


def test_closing_an_unfinished_exchange_closes_the_socket_at_once() -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n")
        if await reader.read(1) == b"":
            raise ConnectionResetError

    async def main() -> None:
        async with faked(script) as (fake, upstream):
            exchange = await upstream.start("GET", "/")
            await exchange.head()
            exchange.close()
            await fake.lost.wait()
            assert upstream.busy == 0
            assert await exchange.read() == b""

    asyncio.run(main())


def test_a_stale_connection_is_replaced_once_and_only_when_nothing_was_answered() -> None:
    async def main() -> None:
        answers = [OK, b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"]

        async def script(reader: Reader, writer: Writer) -> None:
            while True:
                await read_request(reader)
                text = answers.pop(0) if answers else OK
                writer.write(text)
                if text != OK:
                    return

        async with faked(script) as (fake, upstream):
            assert await whole(await upstream.start("GET", "/")) == b"ok"
            # The kept connection now dies without a byte, and the request is sent again, to which
            # half an answer comes: that is an error, not a third try.
            with pytest.raises(UpstreamClosed):
                await whole(await upstream.start("GET", "/"))
            assert fake.connections == 2
            # A first request that is closed without an answer is not repeated either.
            answers.append(b"")
            with pytest.raises(UpstreamClosed):
                await whole(await upstream.start("GET", "/"))
            assert fake.connections == 3

    asyncio.run(main())


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n",
        b"\x00" * 100,
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\nx: y\n\n",
        b"HTTP/1.1 200 OK\r\nx : y\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    ],
)
def test_garbage_is_an_error(garbage: bytes) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(garbage)
        await reader.read(1)

    async def main() -> None:
        async with faked(script) as (_, upstream):
            with pytest.raises(UpstreamGarbage):
                await whole(await upstream.start("GET", "/"))

    asyncio.run(main())


def test_an_interim_answer_is_skipped_and_an_answer_may_end_with_the_connection() -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nto the end")

    async def main() -> None:
        async with faked(script) as (_, upstream):
            assert await whole(await upstream.start("POST", "/", (), b"x")) == b"to the end"

    asyncio.run(main())


def test_silence_ends_in_a_timeout_and_no_answer_at_all_is_unreachable() -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await reader.read()

    async def main() -> None:
        async with faked(script, silence_timeout_s=0.1, sweep_s=0.02) as (_, upstream):
            with pytest.raises(UpstreamTimeout):
                await whole(await upstream.start("GET", "/"))
            port = upstream.port
        with pytest.raises(UpstreamUnreachable):
            await Upstream("127.0.0.1", port).start("GET", "/")

    asyncio.run(main())


def test_a_slow_reader_pauses_the_upstream_instead_of_filling_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "HIGH_WATER", 64 * 1024)
    written = 0
    total = 64 * 1024 * 1024

    async def script(reader: Reader, writer: Writer) -> None:
        nonlocal written
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        for _ in range(total // 65536):
            writer.write(b"x" * 65536)
            await writer.drain()
            written += 65536

    async def main() -> None:
        async with faked(script) as (_, upstream):
            exchange = await upstream.start("GET", "/")
            await exchange.head()
            before = -1
            while written != before:  # until the writer stands still
                before = written
                await asyncio.sleep(0.05)
            assert written < total
            size = 0
            while not exchange.at_end:
                size += len(await exchange.read())
            assert size == total
            exchange.close()

    asyncio.run(main())


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\rb"])
def test_a_line_break_in_a_header_is_never_sent(value: bytes) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        pytest.fail("connected")

    async def main() -> None:
        async with faked(script) as (fake, upstream):
            with pytest.raises(ValueError, match="line break"):
                await upstream.start("GET", "/", [(b"x", value)])
            with pytest.raises(ValueError, match="line break"):
                await upstream.start("GET", "/" + value.decode() + " ")
            assert fake.connections == 0

    asyncio.run(main())


BEGUN = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("before", "again"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nx: ", b"y" * 1000),
        (b"", b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\n"),
        (BEGUN + b"0\r\n", b"x: y\r\n"),
        (BEGUN + b"0\r\nx: ", b"y" * 1000),
        (BEGUN + b"1;", b"y" * 1000),
        (BEGUN, b"1;" + b"y" * 998 + b"\r\na\r\n"),
    ],
)
def test_what_never_ends_is_garbage_within_a_few_kilobytes(before: bytes, again: bytes) -> None:
    """Heads, interim answers, trailers and chunk extensions; each without its end."""
    sent = 0

    async def script(reader: Reader, writer: Writer) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(before)
        block = again * (10_000 // len(again))
        while sent < 100_000_000:
            writer.write(block)
            sent += len(block)
            await writer.drain()
            await asyncio.sleep(0)

    async def main() -> None:
        async with faked(script) as (_, upstream):
            with pytest.raises(UpstreamGarbage, match="without an end"):
                await whole(await upstream.start("GET", "/"))

    asyncio.run(main())
    assert sent < 20_000_000  # most of it in the sockets' buffers


def test_a_trailer_is_never_a_header() -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(BEGUN + b"2\r\nok\r\n0\r\nset-cookie: a\r\n\r\n")
        await reader.read(1)

    async def main() -> None:
        async with faked(script) as (_, upstream):
            exchange = await upstream.start("GET", "/")
            await exchange.head()
            assert await exchange.read_all(100) == b"ok"
            assert exchange.headers == [(b"transfer-encoding", b"chunked")]

    asyncio.run(main())


@pytest.mark.parametrize("second", [OK.replace(b"ok", b"no"), b"HTTP/1.1 200 OK\r\n\r\nno"])
def test_a_second_answer_is_not_the_next_requests(second: bytes) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(OK + second)
        await reader.read(1)

    async def main() -> None:
        async with faked(script) as (fake, upstream):
            assert await whole(await upstream.start("GET", "/")) == b"ok"
            assert await whole(await upstream.start("GET", "/")) == b"ok"
            assert fake.connections == 2

    asyncio.run(main())


def test_a_head_and_each_part_of_a_body_end_the_silence() -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        for part in (BEGUN, b"1\r\na\r\n", b"1\r\nb\r\n", b"0\r\n\r\n"):
            await asyncio.sleep(0.6)
            writer.write(part)

    async def main() -> None:
        async with faked(script, silence_timeout_s=1.0, sweep_s=0.02) as (_, upstream):
            assert await whole(await upstream.start("GET", "/")) == b"ab"

    asyncio.run(main())


@pytest.mark.parametrize("before", [b"HTTP/1.1 200 OK\r\n", BEGUN + b"1\r\na\r\n0\r\n"])
def test_a_head_or_trailer_that_comes_byte_by_byte_is_silence(before: bytes) -> None:
    async def script(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(before)
        for _ in range(1000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async def main() -> None:
        async with faked(script, silence_timeout_s=0.3, sweep_s=0.02) as (_, upstream):
            with pytest.raises(UpstreamTimeout):
                await whole(await upstream.start("GET", "/"))

    asyncio.run(main())


def test_a_full_accept_queue_is_told_within_the_time_for_connecting() -> None:
    """A service that hangs: its listener takes no more, and nobody says so."""
    with socket.socket() as listener, contextlib.ExitStack() as held:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        while True:  # until the queue is full
            client = held.enter_context(socket.socket())
            client.settimeout(0.2)
            try:
                client.connect(listener.getsockname())
            except TimeoutError:
                break

        async def main() -> None:
            upstream = Upstream("127.0.0.1", listener.getsockname()[1], connect_timeout_s=0.2)
            with pytest.raises(UpstreamUnreachable, match=r"within 0\.2 s"):
                await upstream.start("GET", "/")
            assert upstream.busy == 0

        asyncio.run(main())


def test_no_descriptor_left_is_unreachable_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with faked(lambda *_: asyncio.sleep(0)) as (_, upstream):

            async def none_left(*_: object, **__: object) -> None:
                raise OSError(errno.EMFILE, "Too many open files")

            monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", none_left)
            with pytest.raises(UpstreamUnreachable, match="Too many open files"):
                await upstream.start("GET", "/")

    asyncio.run(main())


def test_headers_that_connection_names_stay_on_their_hop() -> None:
    headers = [
        (b"connection", b"close, X-Secret"),
        (b"x-secret", b"1"),
        (b"te", b"trailers"),
        (b"accept", b"*/*"),
        (b"cookie", b"c"),
    ]
    assert forwardable(headers, frozenset({b"cookie"})) == [(b"accept", b"*/*")]
