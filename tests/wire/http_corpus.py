"""Requests that servers have read in two ways, and what RFC 9110 and 9112 say about each.

The classes are those of the published smuggling research and of the conformance suites h1spec (two
programs have that name) and llhttp's own; the bytes are written here, from the sections that stand
beside them. ``SECOND`` is what an attacker wants to be taken for a request of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import h11
import pytest

PATH = b"/v1/chat/completions"
JSON = b'{"model": "local-chat", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}'
SECOND = b"GET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n"
WHOLE = b"%x\r\n%b\r\n0\r\n\r\n" % (len(JSON), JSON)


@dataclass(frozen=True)
class Case:
    """``sent``, and the statuses that must come back, one an answer; the last of them closes.

    ``answers`` of 200 stand for "goes through": what the application says then is its affair.
    """

    name: str
    rule: str
    sent: bytes
    answers: tuple[int, ...]


def post(*headers: bytes, body: bytes = b"", version: bytes = b"1.1", host: bool = True) -> bytes:
    lines = [b"POST " + PATH + b" HTTP/" + version]
    lines += [b"host: localhost"] if host else []
    return b"\r\n".join([*lines, b"content-type: application/json", *headers, b"", body])


def sized(size: bytes, *more: bytes, body: bytes = JSON) -> bytes:
    return post(b"content-length: " + size, *more, body=body)


def chunked(body: bytes, *more: bytes, name: bytes = b"transfer-encoding: chunked") -> bytes:
    return post(name, *more, body=body)


def line(first: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([first, b"host: localhost", *headers, b"", b""])


N = b"%d" % len(JSON)
GET = line(b"GET /v1/models HTTP/1.1")
SHORT = b"5\r\nhello\r\n"

GOOD = [
    Case("a body with its length", "9112 6.2", sized(N), (200,)),
    Case("a body in one chunk", "9112 7.1", chunked(WHOLE), (200,)),
    Case("a body in many chunks", "9112 7.1",
         chunked(b"".join(b"1\r\n%c\r\n" % byte for byte in JSON) + b"0\r\n\r\n"), (200,)),
    Case("the coding in capitals", "9112 7", chunked(WHOLE, name=b"Transfer-Encoding: CHUNKED"),
         (200,)),
    Case("a chunk's size with leading zeros and capitals", "9112 7.1",
         chunked(b"000%X\r\n%b\r\n000\r\n\r\n" % (len(JSON), JSON)), (200,)),
    Case("a chunk extension", "9112 7.1.1",
         chunked(b'%x;a=b;c="d"\r\n%b\r\n0;e\r\n\r\n' % (len(JSON), JSON)), (200,)),
    Case("trailers", "9110 6.5.1", chunked(WHOLE[:-2] + b"x-sum: 1\r\n\r\n"), (200,)),
    Case("a Host among the trailers", "9110 6.5.1",
         chunked(WHOLE[:-2] + b"host: evil.example\r\n\r\n"), (200,)),
    Case("framing among the trailers", "9110 6.5.1",
         chunked(WHOLE[:-2] + b"origin: https://evil.example\r\nx: y\r\n\r\n") + GET, (200, 200)),
    Case("pipelined requests", "9112 9.3.2", sized(N) + GET + sized(N), (200, 200, 200)),
    Case("empty lines before a request", "9112 2.2", b"\r\n\r\n" + GET, (200,)),
    Case("an empty header, tabs about a value", "9110 5.5",
         line(b"GET /v1/models HTTP/1.1", b"empty:", b"x:\t y \t"), (200,)),
    Case("8-bit characters in a value", "9110 5.5",
         line(b"GET /v1/models HTTP/1.1", b"x: \xc3\xa9\xff"), (200,)),
    Case("an absolute target of this host", "9112 3.2.2",
         line(b"GET http://localhost/v1/models HTTP/1.1"), (200,)),
    Case("OPTIONS of the server", "9112 3.2.4", line(b"OPTIONS * HTTP/1.1"), (200,)),
    Case("HTTP/1.0 without Host", "9112 3.2", b"GET /v1/models HTTP/1.0\r\n\r\n", (200,)),
    Case("HEAD", "9110 9.3.2", line(b"HEAD /v1/models HTTP/1.1"), (200,)),
    Case("Upgrade to what is not spoken", "9110 7.8",
         sized(N, b"connection: upgrade", b"upgrade: h2c") + GET, (200, 200)),
    Case("Upgrade with a body in chunks", "9110 7.8",
         chunked(WHOLE, b"connection: upgrade", b"upgrade: websocket") + GET, (200, 200)),
    Case("an expectation, its body behind it", "9110 10.1.1",
         sized(N, b"expect: 100-Continue"), (200,)),
    Case("an expectation in HTTP/1.0", "9110 10.1.1",
         post(b"content-length: " + N, b"expect: 100-continue", body=JSON, version=b"1.0"), (200,)),
    Case("what follows a closing request", "9112 9.6", sized(N, b"connection: close") + SECOND,
         (200,)),
    Case("what follows an HTTP/1.0 request", "9112 9.3",
         post(b"content-length: " + N, body=JSON, version=b"1.0") + SECOND, (200,)),
]  # fmt: skip

LENGTHS = [
    Case(f"Content-Length {size!r}", "9112 6.3", sized(size, body=JSON + SECOND), (400,))
    for size in (
        b"+" + N, b"-" + N, b"-1", b"0x10", b"1_0", b"1e2", b"1.0", N + b", " + N, N + b",0",
        b"9" * 30, b"18446744073709551616", b"", b"'" + N, b"\xd9\xa3", b"\x0b" + N, b"ten",
    )
] + [
    Case("two Content-Lengths that agree", "9112 6.3",
         sized(N, b"content-length: " + N) + SECOND, (400,)),
    Case("two Content-Lengths that differ", "9112 6.3",
         sized(N, b"content-length: 0") + SECOND, (400,)),
    Case("CL.TE", "9112 6.3",
         sized(b"6", b"transfer-encoding: chunked", body=b"0\r\n\r\n" + SECOND), (400,)),
    Case("TE.CL", "9112 6.3",
         post(b"transfer-encoding: chunked", b"content-length: 4",
              body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(SECOND), SECOND)), (400,)),
    Case("a length for what has no body", "9112 6.3",
         line(b"GET /v1/models HTTP/1.1", b"content-length: 5") + b"hello" + GET, (200, 200)),
    Case("a whole answer's length, half a body", "9112 8", sized(N, body=JSON[:9]), (400,)),
]  # fmt: skip

CODINGS = [
    Case(f"Transfer-Encoding {coding!r}", "9112 6.1", chunked(WHOLE + SECOND, name=coding), status)
    for coding, status in (
        (b"transfer-encoding: xchunked", (400, 501)),
        (b"transfer-encoding: chunked, identity", (400, 501)),
        (b"transfer-encoding: identity", (400, 501)),
        (b"transfer-encoding: gzip, chunked", (501,)),
        (b"transfer-encoding: identity, chunked", (501,)),
        (b"transfer-encoding: chunked, chunked", (400, 501)),
        (b"transfer-encoding: \x0bchunked", (400,)),
        (b"transfer-encoding: \x00chunked", (400,)),
        (b'transfer-encoding: "chunked"', (400, 501)),
        (b"transfer-encoding: chunked;q=1", (400, 501)),
        (b"transfer-encoding: chun\xffked", (400, 501)),
        (b"transfer-encoding:", (400, 501)),
        (b"transfer-encoding : chunked", (400,)),
        (b"transfer-encoding\t: chunked", (400,)),
        (b" transfer-encoding: chunked", (400,)),
        (b"transfer-encoding\xff: chunked", (400,)),
        (b"transfer-encoding\x00: chunked", (400,)),
        (b"x: y\ntransfer-encoding: chunked", (400,)),
        (b"x: y\rtransfer-encoding: chunked", (400,)),
        (b"x: y\x00\r\ntransfer-encoding: chunked", (400,)),
        (b"transfer-encoding:\r\n chunked", (400,)),
        (b"transfer-encoding: chunked\r\ntransfer-encoding: x", (400,)),
        (b"transfer-encoding: x\r\ntransfer-encoding: chunked", (400, 501)),
        (b"transfer-encoding: chunked\r\ntransfer-encoding: chunked", (400,)),
    )
] + [
    Case("chunks in HTTP/1.0", "9112 6.1",
         post(b"transfer-encoding: chunked", body=WHOLE, version=b"1.0"), (400,)),
    # A proxy that knows no such header would take the body for a request: one that is our reading
    # too, so that there is nothing to smuggle.
    Case("an underscore for the hyphen", "9112 6.1",
         post(b"transfer_encoding: chunked", b"content-length: 0") + GET, (200, 200)),
]  # fmt: skip

CHUNKS = [
    Case(f"chunks {body[:24]!r}", "9112 7.1", chunked(body + SECOND), (400,))
    for body in (
        b"+5\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5_\r\nhello\r\n0\r\n\r\n", b"0_5\r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n", b"5\t\r\nhello\r\n0\r\n\r\n", b"\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n", b"5\rhello\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhell\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n", b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        b"g\r\nhello\r\n0\r\n\r\n", b"5,5\r\nhello\r\n0\r\n\r\n", b"5\x00\r\nhello\r\n0\r\n\r\n",
        b"5;a\nb\r\nhello\r\n0\r\n\r\n", b"5;\x00\r\nhello\r\n0\r\n\r\n",
        b'5;a="\n"\r\nhello\r\n0\r\n\r\n', SHORT + b"0\r\nx y: z\r\n\r\n",
        SHORT + b"0\r\nx: y\n\r\n", SHORT + b"0\r\nx\x00: y\r\n\r\n", SHORT + b"0\r\n: y\r\n\r\n",
        SHORT + b"0\r\nx: a\r\n b\r\n\r\n", SHORT + b"0\n\r\n",
        SHORT + b"0\r\ncontent-length: 5\r\n\r\n", SHORT + b"0\r\ntransfer-encoding: x\r\n\r\n",
        SHORT + b"0\r\nx: y\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
    )
]  # fmt: skip

HEADS = [
    Case(f"head {head!r}", "9112 2.2, 3, 5", head + b"\r\n\r\n" + SECOND, (status,))
    for head, status in (
        (b"GET /v1/models HTTP/1.1", 400),
        (b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nhost: localhost", 400),
        (b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nhost: evil.example", 400),
        (b"GET /v1/models HTTP/1.1\r\nhost: localhost, evil.example\r\nhost:", 400),
        (b"GET /v1/models HTTP/1.1\r\nhost: bad host", 400),
        (b"GET /v1/models HTTP/1.1\r\nhost: localhost@evil.example", 400),
        (b"GET /v1/models HTTP/1.1\r\nhost: localhost/evil.example", 400),
        (b"GET /v1/models HTTP/1.1\r\nhost: local\x00host", 400),
        (b"GET /v1/models HTTP/1.1\r\nhost : localhost", 400),
        (b"GET /v1/models HTTP/1.1\r\n host: localhost", 400),
        (b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n continued", 400),
        (b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx: y\r\n\tz", 400),
        (b"GET /v1/models HTTP/1.1\nhost: localhost", 400),
        (b"GET /v1/models HTTP/1.1\rhost: localhost", 400),
        (b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nno colon", 400),
        (b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx y: z", 400),
        (b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx[]: z", 400),
        (b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n: z", 400),
        (b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx: \x07", 400),
        (b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx: a\x7f\x01b", 400),
        (b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx\x80: y", 400),
        (b"GET /v1/models", 400),
        (b"GET /v1/models HTTP/0.9\r\nhost: localhost", 400),
        (b"GET /v1/models HTTP/2.0\r\nhost: localhost", 505),
        (b"GET /v1/models HTTP/1.2\r\nhost: localhost", 400),
        (b"GET /v1/models HTTP/9.9\r\nhost: localhost", 400),
        (b"GET /v1/models HTTP/1.1x\r\nhost: localhost", 400),
        (b"GET /v1/models HTTP/01.1\r\nhost: localhost", 400),
        (b"GET /v1/models http/1.1\r\nhost: localhost", 400),
        (b"GET /v1/models HTTP/1.1 HTTP/1.1\r\nhost: localhost", 400),
        (b"get /v1/models HTTP/1.1\r\nhost: localhost", 400),
        (b"GET\t/v1/models HTTP/1.1\r\nhost: localhost", 400),
        (b"GET /v1/models\x0bHTTP/1.1\r\nhost: localhost", 400),
        (b"GET /v1/\xff HTTP/1.1\r\nhost: localhost", 400),
        (b"GET /v1/\x00 HTTP/1.1\r\nhost: localhost", 400),
        (b"GET v1/models HTTP/1.1\r\nhost: localhost", 400),
        (b"GET * HTTP/1.1\r\nhost: localhost", 400),
        (b"GET http://localhost@evil.example/ HTTP/1.1\r\nhost: localhost", 400),
        (b"GET ftp://localhost/ HTTP/1.1\r\nhost: localhost", 400),
        (b"GET http:///v1/models HTTP/1.1\r\nhost: localhost", 400),
        (b"CONNECT evil.example:443 HTTP/1.1\r\nhost: localhost", 405),
        (b"TRACE / HTTP/1.1\r\nhost: localhost", 501),
        (b"SOURCE / ICE/1.0", 501),
        (b"DESCRIBE / RTSP/1.0\r\nhost: localhost", 501),
        (b"PRI * HTTP/2.0\r\n\r\nSM", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"\x00GET / HTTP/1.1\r\nhost: localhost", 400),
        (b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nexpect: 200-ok", 417),
        (b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n" + b"\r\n".join([b"a: b"] * 300), 431),
        (b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 66_000, 431),
        (b"GET /" + b"y" * 60_000 + b" HTTP/1.1\r\nhost: localhost", 414),
        (b"GET /" + b"y" * 140_000 + b" HTTP/1.1\r\nhost: localhost", 431),
    )
]  # fmt: skip

CORPUS = [*GOOD, *LENGTHS, *CODINGS, *CHUNKS, *HEADS]


@dataclass(frozen=True)
class Request:
    """What a parser takes for one request."""

    method: bytes
    target: bytes
    body: bytes


def h11_reads(sent: bytes) -> list[Request]:
    """The whole requests that h11, an independent parser, finds in ``sent``."""
    found: list[Request] = []
    while sent:
        # RFC 9112, 2.2: empty lines before a request are skipped; h11 would skip one only.
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=10**7)
        parser.receive_data(sent.lstrip(b"\r\n"))
        parser.receive_data(b"")
        head, body = None, b""
        try:
            while not isinstance(event := parser.next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                else:
                    return found
        except h11.RemoteProtocolError:
            return found
        assert head is not None
        found.append(Request(head.method, head.target, body))
        if parser.their_state is h11.MUST_CLOSE:
            return found
        sent = parser.trailing_data[0]
    return found


def answers(got: bytes, sent: bytes) -> list[tuple[int, bytes]]:
    """Status and body of each answer in ``got``, as h11 reads them; interim ones are left out."""
    found: list[tuple[int, bytes]] = []
    while got:
        parser = h11.Connection(h11.CLIENT)
        method = b"HEAD" if sent.startswith(b"HEAD") else b"GET"
        parser.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"x")]))
        parser.send(h11.EndOfMessage())
        parser.receive_data(got)
        if b"connection: close" in got.lower():
            parser.receive_data(b"")
        status, body = 0, b""
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.InformationalResponse):
                assert event.status_code == 100
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            else:
                pytest.fail(f"{event} in an answer: {got!r}")
        found.append((status, body))
        got = parser.trailing_data[0]
    return found
