"""The server alone against the corpus: what it answers, and what its application gets to see."""

from __future__ import annotations

import asyncio
import random

import h11
import pytest
from http_corpus import CORPUS, GOOD, SECOND, Case, Request, answers, h11_reads

from local_ai_suite.wire.asgi import Receive, Scope, Send, answer, read_body
from local_ai_suite.wire.serve import Server, listen


class Recorder:
    """An application that keeps what it was asked."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.headers: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive, limit=10**6)
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        self.seen.append(Request(scope["method"].encode(), target, body))
        self.headers += [b"%b: %b" % pair for pair in scope["headers"]]
        await answer(send, 200, b"echo " + body)


async def exchange(port: int, pieces: list[bytes]) -> bytes:
    """Send ``pieces`` one by one, end our side, read to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(20):
            try:
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    if len(pieces) > 1:
                        await asyncio.sleep(0)
                writer.write_eof()
            except (ConnectionError, RuntimeError):
                pass  # refused in the middle of what we send
            return await reader.read()
    finally:
        writer.close()


def run(case: Case, pieces: list[bytes]) -> tuple[bytes, Recorder]:
    async def main() -> tuple[bytes, Recorder]:
        app = Recorder()
        async with Server(app, listen("127.0.0.1", 0)) as server:
            return await exchange(server.port, pieces), app

    return asyncio.run(main())


def path_of(target: bytes) -> bytes:
    """An absolute target's path: the same request in other words."""
    rest = target.partition(b"://")[2]
    return b"/" + rest.partition(b"/")[2] if rest else target


def check(case: Case, got: bytes, app: Recorder) -> None:
    found = answers(got, case.sent)
    statuses = tuple(status for status, _ in found)
    assert statuses in {case.answers, *((one,) for one in case.answers if one >= 400)}, got[:300]
    read = [Request(r.method, path_of(r.target), r.body) for r in h11_reads(case.sent)]
    assert app.seen == read[: len(app.seen)], "it sees what an independent parser does not"
    assert len(app.seen) == sum(status == 200 for status in statuses)
    assert not any(request.target == b"/smuggled" for request in app.seen)


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name[:60])
def test_a_request_is_answered_as_the_standard_says_and_nothing_is_smuggled(case: Case) -> None:
    got, app = run(case, [case.sent])
    check(case, got, app)


SMALL = [case for case in CORPUS if len(case.sent) < 2_000]


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name[:60])
def test_the_same_bytes_one_by_one_are_the_same_request(case: Case) -> None:
    got, app = run(case, [case.sent[at : at + 1] for at in range(len(case.sent))])
    check(case, got, app)


@pytest.mark.parametrize("seed", range(2))
def test_requests_put_together_at_random_never_show_more_than_h11_sees(seed: int) -> None:
    check_put_together(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 200))
def test_many_requests_put_together_never_show_more_than_h11_sees(seed: int) -> None:
    check_put_together(seed)


def check_put_together(seed: int) -> None:
    """Pieces of the corpus' requests, cut and joined: whatever passes, both parsers see alike."""
    dice = random.Random(seed)
    lines = sorted({line for case in SMALL for line in case.sent.split(b"\r\n")})

    async def main() -> int:
        app, passed = Recorder(), 0
        async with Server(app, listen("127.0.0.1", 0)) as server:
            for _ in range(400):
                base = dice.choice([dice.choice(GOOD), dice.choice(SMALL)]).sent.split(b"\r\n")
                for _ in range(dice.randint(1, 2)):
                    at = dice.randrange(len(base))
                    base[at : at + dice.randint(0, 1)] = [dice.choice(lines)]
                sent = b"\r\n".join(base)
                app.seen.clear()
                await exchange(server.port, [sent])
                read = [Request(r.method, path_of(r.target), r.body) for r in h11_reads(sent)]
                assert app.seen == read[: len(app.seen)], f"seed {seed}: {sent!r}"
                passed += bool(app.seen)
        return passed

    assert asyncio.run(main()) > 10, f"seed {seed}: nothing passed, so nothing was compared"


@pytest.mark.parametrize(
    ("trailer", "limit"), [(b"x: y\r\n", None), (b"x" * 999, None), (b"", b";ext=" + b"a" * 99)]
)
def test_an_endless_trailer_or_chunk_extension_is_refused(
    trailer: bytes, limit: bytes | None
) -> None:
    async def main() -> None:
        app = Recorder()
        async with Server(app, listen("127.0.0.1", 0)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
            writer.write(b"1" + limit if limit else b"1\r\na\r\n0\r\n")
            sent = 0
            try:
                while sent < 2_000_000:
                    writer.write(trailer or b"b" * 999)
                    sent += len(trailer) or 999
                    await writer.drain()
            except ConnectionError:
                pass
            async with asyncio.timeout(10):
                got = await reader.read()
            writer.close()
            assert got.startswith(b"HTTP/1.1 431 ")
            assert b"trailers" in got
            assert not app.seen

    asyncio.run(main())


def test_a_trailer_is_never_a_header() -> None:
    case = next(case for case in CORPUS if case.name == "framing among the trailers")
    _, app = run(case, [case.sent])
    assert len(app.seen) == 2
    assert not any(b"evil" in header or header.startswith(b"x:") for header in app.headers)


def test_an_absolute_target_names_the_host() -> None:
    sent = b"GET http://evil.example:81/a?b HTTP/1.1\r\nhost: localhost\r\nx: y\r\n\r\n"
    _, app = run(Case("", "", sent, ()), [sent])
    assert app.seen == [Request(b"GET", b"/a?b", b"")]
    assert [name for name in app.headers if name.startswith(b"host")] == [b"host: evil.example:81"]


def test_an_answer_has_a_date_and_204_has_no_length() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 204, b"")

    async def main() -> bytes:
        async with Server(app, listen("127.0.0.1", 0)) as server:
            return await exchange(server.port, [SECOND])

    got = asyncio.run(main())
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    parser.receive_data(got)
    head = parser.next_event()
    assert isinstance(head, h11.Response)
    names = {name for name, _ in head.headers}
    assert b"date" in names
    assert b"content-length" not in names
