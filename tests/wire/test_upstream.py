"""The pass-through client against a socket that a test scripts byte by byte."""

from __future__ import annotations

import asyncio
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
