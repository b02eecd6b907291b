"""One client's connection: HTTP/1.1 in, ASGI calls, HTTP/1.1 out.

httptools parses; this keeps the order of pipelined requests, frames the answers, holds back a fast
client or a fast application, and bounds how long a head, silence or a reader that does not read may
take. One timer per connection looks after all of these.

A connection that is lost cancels the task that serves its request: an application lets
``asyncio.CancelledError`` through and cleans up in ``finally``.
"""

from __future__ import annotations

import asyncio
import http
import logging
import urllib.parse
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httptools

from local_ai_suite.wire.asgi import answer
from local_ai_suite.wire.envelope import api_of, error_body

if TYPE_CHECKING:
    from local_ai_suite.wire.asgi import App, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 64 * 1024
# Above this much of a body that its application has not asked for, the client is held back.
BODY_HIGH_WATER = 64 * 1024
# How long a refused connection is read before it is reset.
LINGER_S = 2.0

STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in http.HTTPStatus
}
_DISCONNECT: Message = {"type": "http.disconnect"}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_ASGI = {"version": "3.0", "spec_version": "2.3"}


@dataclass(slots=True)
class Service:
    """What the connections of one server share."""

    app: App
    head_timeout_s: float
    keep_alive_s: float
    stall_s: float
    connections: set[Connection] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def tick_s(self) -> float:
        """How often a connection looks at its clock; limits are kept to within this time."""
        return min(self.head_timeout_s, self.keep_alive_s, self.stall_s)


class Connection(asyncio.Protocol):
    """A protocol for ``loop.create_server``. httptools calls the ``on_*`` methods."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._client: tuple[str, int] | None = None
        self._local: tuple[str, int] | None = None
        self._timer: asyncio.TimerHandle | None = None
        # The request that is being read, those that wait for it (pipelining), the one served.
        self._reading: _Exchange | None = None
        self._waiting: deque[_Exchange] = deque()
        self._serving: _Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._in_head = False
        self._fresh = True  # no request has come yet
        self._refused = self._closing_soon = False
        self._since = self._loop.time()  # of the head that is being read, or of idleness
        self._stalled_since: float | None = None
        self._drained: asyncio.Future[None] | None = None
        self._reading_paused = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._client = _address(transport.get_extra_info("peername"))
        self._local = _address(transport.get_extra_info("sockname"))
        self._service.connections.add(self)
        self._timer = self._loop.call_later(self._service.tick_s, self._tick)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        self._transport = None
        self._service.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._serving is not None:
            self._serving.lose()
        if self._task is not None:
            self._task.cancel()
        self.resume_writing()

    def pause_writing(self) -> None:
        if self._drained is None:
            self._drained = self._loop.create_future()
            self._stalled_since = self._loop.time()

    def resume_writing(self) -> None:
        drained, self._drained, self._stalled_since = self._drained, None, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._refused or self._transport is None or self._transport.is_closing():
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._go_on_without_upgrade(data[exc.args[0] :])
        except httptools.HttpParserError:
            self._refuse(400, "bad_request", "The request is not valid HTTP/1.1.")
        else:
            if self._in_head:
                self._head_bytes += len(data)
                if self._head_bytes > MAX_HEAD_BYTES:
                    self._refuse(431, "headers_too_large", "The request's headers are too large.")

    # httptools

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._head_bytes = 0
        self._in_head = True
        self._since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = self._fresh = False
        parser = self._parser
        if parser.should_upgrade():
            return
        url = httptools.parse_url(self._url)
        path = url.path.decode("ascii")
        version = parser.get_http_version()
        scope: Scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": parser.get_method().decode("ascii"),
            "scheme": "http",
            "path": urllib.parse.unquote(path) if "%" in path else path,
            "raw_path": url.path,
            "query_string": url.query or b"",
            "root_path": "",
            "headers": self._headers,
            "client": self._client,
            "server": self._local,
        }
        keep_alive = version == "1.1" and parser.should_keep_alive() and not self._closing_soon
        exchange = self._reading = _Exchange(self, scope, keep_alive=keep_alive)
        if self._serving is None:
            self._serve(exchange)
        else:
            self._waiting.append(exchange)
            self._hold()

    def on_body(self, body: bytes) -> None:
        if self._reading is not None:
            self._reading.add(body)

    def on_message_complete(self) -> None:
        if self._reading is not None and not self._parser.should_upgrade():
            self._reading.add_end()
            self._reading = None

    # For the server and the exchanges

    @property
    def transport(self) -> asyncio.Transport | None:
        """``None`` once the connection is lost."""
        return self._transport

    @property
    def drained(self) -> asyncio.Future[None] | None:
        """What to wait for before writing more; ``None`` when the client keeps up."""
        return self._drained

    def shut_down(self) -> None:
        """Close when idle, else after the answer that is under way."""
        self._closing_soon = True
        if self._serving is not None:
            self._serving.keep_alive = False
        elif self._transport is not None:
            self._transport.close()

    def hold(self) -> None:
        """Read no more for now: the application has not asked for what came."""
        self._hold()

    def go_on(self) -> None:
        """Read again, unless requests wait for their turn."""
        if self._reading_paused and not self._waiting and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()

    def _hold(self) -> None:
        if not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()

    def _serve(self, exchange: _Exchange) -> None:
        self._serving = exchange
        size = sum(len(name) + len(value) for name, value in exchange.scope["headers"])
        app = self._service.app if size <= MAX_HEAD_BYTES else _head_too_large
        task = self._task = self._loop.create_task(self._run(exchange, app))
        self._service.tasks.add(task)
        task.add_done_callback(self._service.tasks.discard)

    async def _run(self, exchange: _Exchange, app: App) -> None:
        try:
            await app(exchange.scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            exchange.lose()  # gone, or the server is stopping: nothing more is sent
        except Exception:
            logger.exception("the application failed")
            await self._apologise(exchange)
        else:
            if not exchange.complete and not exchange.lost:
                logger.error("the application ended without a complete answer")
                await self._apologise(exchange)
        self._task = None
        self._finished(exchange)

    async def _apologise(self, exchange: _Exchange) -> None:
        if exchange.started:
            exchange.lose()  # cut off: half an answer must not look whole
            return
        path = exchange.scope["path"]
        body = error_body(api_of(path), 500, "The server failed.", code="internal_error")
        await answer(exchange.send, 500, body, headers=[(b"connection", b"close")])

    def _finished(self, exchange: _Exchange) -> None:
        self._serving = None
        self._since = self._loop.time()
        transport = self._transport
        if transport is None or self._refused:
            return
        if exchange.lost or not exchange.complete:
            transport.abort()
        elif not exchange.keep_alive or exchange.more_body:
            # With a body that nobody read, the next request cannot be found.
            self._linger() if exchange.more_body else transport.close()
        elif self._waiting:
            following = self._waiting.popleft()
            self._serve(following)
            self.go_on()
        else:
            self.go_on()

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        # "Upgrade: h2c" (Java's HttpClient sends it, and with it JetBrains' IDEs): we answer in
        # HTTP/1.1. llhttp takes such a request as complete without its body, so the head is parsed
        # once more without the wish.
        if self._parser.get_method() == b"CONNECT":
            self._refuse(405, "method_not_allowed", "This is not a proxy.")
            return
        head = b"".join(
            b"%b: %b\r\n" % (name, value)
            for name, value in self._headers
            if name not in {b"upgrade", b"connection", b"http2-settings"}
        )
        line = b"%b %b HTTP/1.1\r\n" % (self._parser.get_method(), self._url)
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join((line, head, b"\r\n", rest)))

    def _tick(self) -> None:
        now, service = self._loop.time(), self._service
        self._timer = self._loop.call_later(service.tick_s, self._tick)
        age = now - self._since
        if self._stalled_since is not None:
            if now - self._stalled_since >= service.stall_s and self._transport is not None:
                self._transport.abort()
        elif self._serving is not None or self._refused:
            return
        elif self._in_head and age >= service.head_timeout_s:
            self._refuse(408, "request_timeout", "The request's headers did not arrive in time.")
        elif not self._in_head and self._transport is not None:
            limit = service.head_timeout_s if self._fresh else service.keep_alive_s
            if age >= limit:
                self._transport.close()

    def _refuse(self, status: int, code: str, message: str) -> None:
        transport, serving = self._transport, self._serving
        if self._refused or transport is None or transport.is_closing():
            return
        if serving is None or not serving.started:
            body = error_body("openai", status, message, code=code)
            transport.write(
                STATUS_LINES[status]
                + b"content-type: application/json\r\nconnection: close\r\n"
                + b"content-length: %d\r\n\r\n" % len(body)
                + body
            )
        if serving is not None:
            serving.lose()  # its application has nobody to talk to any more
        self._linger()

    def _linger(self) -> None:
        # Closing with unread data resets the connection, and the client would never read the
        # answer: so end our side, and throw away what still comes for a moment.
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._refused = True
        self._waiting.clear()
        self.go_on()
        transport.write_eof()
        self._loop.call_later(LINGER_S, transport.abort)
        if self._task is not None and self._serving is not None and self._serving.lost:
            self._task.cancel()


class _Exchange:
    """One request and its answer: ASGI's ``receive`` and ``send``."""

    __slots__ = (
        "_body",
        "_chunked",
        "_connection",
        "_ended",
        "_expects",
        "_left",
        "_size",
        "_waiter",
        "complete",
        "keep_alive",
        "lost",
        "more_body",
        "scope",
        "started",
    )  # fmt: skip

    def __init__(self, connection: Connection, scope: Scope, *, keep_alive: bool) -> None:
        self._connection = connection
        self.scope = scope
        self.keep_alive = keep_alive
        self._body: list[bytes] = []
        self._size = 0
        self.more_body = True
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None
        self._expects = (b"expect", b"100-continue") in scope["headers"]
        self.started = self.complete = self.lost = False
        self._chunked = False
        self._left: int | None = None

    def add(self, body: bytes) -> None:
        """Some of the request's body has come."""
        if self.complete:
            return
        self._body.append(body)
        self._size += len(body)
        if self._size > BODY_HIGH_WATER:
            self._connection.hold()
        self._wake()

    def add_end(self) -> None:
        """All of it has come."""
        self.more_body = False
        self._wake()

    def lose(self) -> None:
        """The client is gone, or will get no more."""
        self.lost = True
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def receive(self) -> Message:
        transport = self._connection.transport
        if self._expects and not self.started and transport is not None:
            self._expects = False
            transport.write(_CONTINUE)
        while True:
            if self.lost or self.complete:
                return _DISCONNECT
            if self._body or (not self.more_body and not self._ended):
                pieces, self._body, self._size = self._body, [], 0
                self._ended = not self.more_body
                self._connection.go_on()
                body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                return {"type": "http.request", "body": body, "more_body": self.more_body}
            self._connection.go_on()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    async def send(self, message: Message) -> None:
        connection = self._connection
        if connection.drained is not None and not self.lost:
            await connection.drained
        transport = connection.transport
        if self.lost or transport is None:
            return
        kind = message["type"]
        if kind == "http.response.body" and self.started and not self.complete:
            self._send_body(transport, message.get("body", b""), message.get("more_body", False))
        elif kind == "http.response.start" and not self.started:
            self.started = True
            # An answer that comes before its request's end does not wait for the rest.
            self.keep_alive = self.keep_alive and not self.more_body
            transport.write(self._head(message["status"], message.get("headers", ())))
        else:
            raise RuntimeError(f"{kind} does not come at this point of an answer")

    def _head(self, status: int, headers: Any) -> bytes:
        lines = [STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        closes = False
        for name, value in headers:
            if name == b"content-length":
                self._left = int(value)
            elif name == b"connection":
                closes = value.lower() == b"close"
            elif name == b"transfer-encoding":
                continue  # framing is ours
            lines.append(b"%b: %b\r\n" % (name, value))
        if self._left is None and status not in {204, 304} and self.scope["method"] != "HEAD":
            if self.scope["http_version"] == "1.1":
                self._chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                self.keep_alive = False  # the answer ends where the connection ends
        if closes:
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
            self.started = False
            raise ValueError("a line break in a header of the answer")
        return head + b"\r\n"

    def _send_body(self, transport: asyncio.Transport, body: bytes, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            self._left = None
        elif self._chunked:
            if body:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            transport.write(body if more else body + b"0\r\n\r\n")
        else:
            if self._left is not None:
                self._left -= len(body)
                if self._left < 0 or (self._left and not more):
                    raise RuntimeError("the body is not as long as content-length says")
            transport.write(body)
        if not more:
            self.complete = True
            self._wake()


async def _head_too_large(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    message = "The request's headers are too large."
    body = error_body(api_of(scope["path"]), 431, message, code="headers_too_large")
    await answer(send, 431, body, headers=[(b"connection", b"close")])


def _address(name: Any) -> tuple[str, int] | None:
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
