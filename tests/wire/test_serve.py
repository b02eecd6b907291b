"""The server around an application: addresses, bounds, hang-ups, stopping."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys

import orjson
import pytest

from local_ai_suite.errors import PortInUse
from local_ai_suite.wire.asgi import Receive, Scope, Send, answer, read_body
from local_ai_suite.wire.serve import Server, listen

LIMIT = 100_000


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        body = await read_body(scope, receive, limit=LIMIT, timeout_s=0.3)
    except Exception as exc:  # noqa: BLE001 (the test reads its name)
        await answer(send, getattr(exc, "http_status", 500), type(exc).__name__.encode())
        return
    await answer(send, 200, body)


async def talk(port: int, data: bytes, host: str = "127.0.0.1") -> bytes:
    """Send ``data``, read until the server closes."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(data)
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


def serving(app=echo, **options: float) -> Server:
    return Server(app, listen("127.0.0.1", 0), **options)


def request(body: bytes = b"", extra: bytes = b"", close: bool = True) -> bytes:
    end = b"connection: close\r\n" if close else b""
    return (
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n" % len(body)
        + extra
        + end
        + b"\r\n"
        + body
    )


def test_both_loopbacks_answer_on_the_same_port() -> None:
    async def main() -> None:
        async with serving() as server:
            assert (await talk(server.port, request(b"four"))).endswith(b"\r\n\r\nfour")
            if len(server.listeners) == 2:
                assert (await talk(server.port, request(b"six"), "::1")).endswith(b"six")
            assert server.listeners.urls[0] == f"http://127.0.0.1:{server.port}"

    asyncio.run(main())


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=str(port)):
            listen("127.0.0.1", port)


def test_a_hang_up_cancels_the_request_and_runs_its_cleaning_up() -> None:
    async def main() -> None:
        begun, cleaned = asyncio.Event(), asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                cleaned.set()

        async with serving(app) as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request())
            await begun.wait()
            assert not cleaned.is_set()
            writer.close()
            async with asyncio.timeout(5):
                await cleaned.wait()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n", b"400"),
        (b"CONNECT evil.example:443 HTTP/1.1\r\nhost: x\r\n\r\n", b"405"),
        (b"GET http://[ HTTP/1.1\r\nhost: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 1_000_000, b"431"),
        (b"GET / HTTP/1.1\r\nhost: x\r\n", b"408"),
        (b"G", b"408"),
        (
            b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
            b"400",
        ),
    ],
)
def test_a_bad_or_slow_head_gets_a_clear_bounded_answer(data: bytes, status: bytes) -> None:
    async def main() -> None:
        async with serving(head_timeout_s=0.2) as server:
            got = await talk(server.port, data)
            assert got.startswith(b"HTTP/1.1 " + status)
            assert "error" in orjson.loads(got.partition(b"\r\n\r\n")[2])

    asyncio.run(main())


@pytest.mark.parametrize("quiet", [b"", b"\r\n"])
def test_a_connection_that_says_nothing_is_closed(quiet: bytes) -> None:
    async def main() -> None:
        async with serving(head_timeout_s=0.1) as server:
            assert await talk(server.port, quiet) == b""

    asyncio.run(main())


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (request(b"x" * LIMIT), b"200", b"x" * LIMIT),
        (request(b"x" * (LIMIT + 1)), b"413", b"BodyTooLarge"),
        (
            request().replace(b"content-length: 0", b"content-length: 99999999999999999"),
            b"413",
            b"BodyTooLarge",
        ),
        (
            request().replace(b"content-length: 0", b"content-length: 9"),
            b"408",
            b"BodyTooSlow",
        ),
        (
            request().replace(b"content-length: 0", b"transfer-encoding: chunked")
            + b"%x\r\n" % (2 * LIMIT)
            + b"y" * (2 * LIMIT)
            + b"\r\n0\r\n\r\n",
            b"413",
            b"BodyTooLarge",
        ),
        (
            request().replace(b"content-length: 0", b"transfer-encoding: chunked")
            + b"3\r\nabc\r\n0\r\n\r\n",
            b"200",
            b"abc",
        ),
        (request(b"\x1f\x8b", b"content-encoding: gzip\r\n"), b"415", b"BodyCompressed"),
    ],
)
def test_bodies_are_bounded_in_size_and_time(data: bytes, status: bytes, said: bytes) -> None:
    async def main() -> None:
        async with serving() as server:
            got = await talk(server.port, data)
            assert got.startswith(b"HTTP/1.1 " + status)
            assert got.partition(b"\r\n\r\n")[2] == said

    asyncio.run(main())


def test_pipelined_requests_are_answered_in_order() -> None:
    async def main() -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            body = await read_body(scope, receive, limit=LIMIT)
            await asyncio.sleep(0.05 if body == b"slow" else 0)
            await answer(send, 200, b"<" + body + b">")

        async with serving(app) as server:
            bodies = [b"slow", b"fast", b"x" * 80_000, b"last"]
            sent = b"".join(request(body, close=body == b"last") for body in bodies)
            got = await talk(server.port, sent)
            found = [got.index(b"<" + body + b">") for body in bodies]
            assert found == sorted(found)
            assert got.count(b"HTTP/1.1 200") == len(bodies)

    asyncio.run(main())


def test_an_answer_of_unknown_length_is_framed_as_the_clients_version_asks() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    async def main() -> None:
        async with serving(app) as server:
            new = await talk(server.port, request())
            assert new.endswith(b"\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n")
            old = await talk(server.port, b"GET / HTTP/1.0\r\n\r\n")
            assert old.endswith(b"\r\n\r\nab")
            assert b"chunked" not in old
            head = await talk(server.port, request().replace(b"POST", b"HEAD"))
            assert head.endswith(b"\r\n\r\n")

    asyncio.run(main())


@pytest.mark.parametrize(
    "headers", [[(b"x", b"a\r\nset-cookie: b")], [(b"x\n", b"a")], [(b"x", b"a\0")]]
)
def test_a_line_break_in_an_answers_header_is_never_sent(
    headers: list[tuple[bytes, bytes]],
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 200, b"", headers=headers)

    async def main() -> None:
        async with serving(app) as server:
            got = await talk(server.port, request())
            assert got.startswith(b"HTTP/1.1 500")
            assert b"set-cookie" not in got

    asyncio.run(main())


@pytest.mark.parametrize("begun", [False, True])
def test_an_application_that_fails_is_a_500_or_a_cut_answer_never_a_whole_one(
    begun: bool,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
        raise ArithmeticError

    async def main() -> None:
        async with serving(app) as server:
            try:
                got = await talk(server.port, request())
            except ConnectionError:
                got = b""
            if begun:
                assert not got.endswith(b"0\r\n\r\n")
            else:
                assert got.startswith(b"HTTP/1.1 500")
                assert b"internal_error" in got

    asyncio.run(main())


def test_an_h2c_upgrade_is_answered_as_http_1_and_the_connection_goes_on() -> None:
    """Java's HttpClient asks for h2c on every first request (JetBrains' IDEs)."""

    async def main() -> None:
        async with serving() as server:
            upgrade = (
                b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n"
            )
            got = await talk(
                server.port, request(b"first", upgrade, close=False) + request(b"second")
            )
            assert b"\r\n\r\nfirst" in got
            assert got.endswith(b"\r\n\r\nsecond")

    asyncio.run(main())


def test_a_client_that_never_reads_is_cut_off() -> None:
    async def main() -> None:
        cleaned = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                while True:
                    piece = {"type": "http.response.body", "body": b"x" * 65536, "more_body": True}
                    await send(piece)
                    await asyncio.sleep(0)
            finally:
                cleaned.set()

        async with serving(app, stall_s=0.2) as server:
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(request())
                async with asyncio.timeout(10):
                    await cleaned.wait()

    asyncio.run(main())


def test_stopping_lets_an_answer_end_and_cuts_off_what_takes_too_long() -> None:
    async def main() -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.sleep(0.2 if scope["path"] == "/short" else 60)
            await answer(send, 200, b"done")

        async with serving(app) as server:
            short = asyncio.ensure_future(
                talk(server.port, request().replace(b"POST /", b"POST /short"))
            )
            long = asyncio.ensure_future(talk(server.port, request()))
            await asyncio.sleep(0.1)
            await server.stop(0.5)
            assert (await short).endswith(b"done")
            with contextlib.suppress(ConnectionError):
                assert b"done" not in await long

    asyncio.run(main())


SERVICE = """
import sys
from local_ai_suite.wire.asgi import answer
from local_ai_suite.wire.serve import Server, listen, run

async def app(scope, receive, send):
    await answer(send, 200, b"up")

async def main(stopping):
    server = Server(app, listen("127.0.0.1", 0))
    print(server.port, flush=True)
    await server.serve_until(stopping)
    return 0

sys.exit(run(main))
"""


def test_sigterm_ends_a_service_with_exit_code_zero() -> None:
    with subprocess.Popen([sys.executable, "-c", SERVICE], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            assert asyncio.run(talk(port, request())).endswith(b"up")
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()
