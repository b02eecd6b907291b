"""A keep-alive HTTP/1.1 client that passes bytes on as they come.

Made for one job: a proxy in front of a local engine. What arrived together is handed on together,
at once; a slow reader pauses the upstream's socket instead of filling memory; ``close`` ends an
unfinished exchange by closing its socket, which is how the engine learns that nobody listens.

    upstream = Upstream("127.0.0.1", 8001)
    exchange = await upstream.start("POST", "/v1/chat/completions", headers, body)
    try:
        await exchange.head()           # .status, .headers
        while not exchange.at_end:
            piece = await exchange.read()
    finally:
        exchange.close()
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httptools

from local_ai_suite.errors import NetworkError
from local_ai_suite.wire.head import FRAMING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local_ai_suite.wire.asgi import Headers

# A local engine accepts at once or isn't there; a busy one has its accept queue.
CONNECT_TIMEOUT_S = 5.0
# Silence from the engine: a long prompt on a CPU takes minutes before its first token.
SILENCE_TIMEOUT_S = 600.0
# cpp-httplib (llama-server) closes an idle connection after 5 s; one this old is not used again.
IDLE_REUSE_S = 4.0
# How often silence and idleness are looked at: one timer for all exchanges, none per request.
SWEEP_S = 1.0
MAX_IDLE = 256
# Above this much unread data the upstream's socket is paused, below half of it resumed.
HIGH_WATER = 256 * 1024
# Of an answer, what is no body: its head with the interim answers before it, chunk lines, trailers.
MAX_HEAD_BYTES = 64 * 1024
# So much is parsed before that limit is looked at; it is how far it may be passed.
_PARSED_AT_ONCE = 16 * 1024
# What a chunk's size line and line ends may take before they count: 16 digits of size.
_CHUNK_LINES = 20

# Headers that belong to one connection (RFC 9110, 7.6.1) or that this client sets itself.
HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization",
    b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings",
})  # fmt: skip


class UpstreamError(NetworkError):
    """The upstream did not answer as it should. ``before_answer``: no byte of an answer came."""

    code = "upstream_error"
    http_status = 502


class UpstreamUnreachable(UpstreamError):
    """Nothing takes the connection, or it is cut before an answer."""

    code = "upstream_unreachable"


class UpstreamClosed(UpstreamError):
    """It closed the connection before its answer was complete."""

    code = "upstream_closed"


class UpstreamGarbage(UpstreamError):
    """What it sent is not HTTP."""

    code = "upstream_garbage"


class UpstreamTimeout(UpstreamError):
    """It did not answer in time."""

    code = "upstream_timeout"
    http_status = 504


class Upstream:
    """One address with its pool of connections. Belongs to one event loop."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        silence_timeout_s: float = SILENCE_TIMEOUT_S,
        idle_reuse_s: float = IDLE_REUSE_S,
        sweep_s: float = SWEEP_S,
    ) -> None:
        self.host, self.port = host, port
        self.connect_timeout_s = connect_timeout_s
        self.silence_timeout_s = silence_timeout_s
        self.idle_reuse_s = idle_reuse_s
        self._sweep_s = sweep_s
        self._idle: deque[_Connection] = deque()
        self._busy: set[_Connection] = set()
        self._timer: asyncio.TimerHandle | None = None
        shown = f"[{host}]" if ":" in host else host
        self.authority = f"{shown}:{port}"
        self._host_header = f"host: {self.authority}\r\n".encode()

    @classmethod
    def from_url(cls, url: str, **options: float) -> Upstream:
        """From ``http://host:port/anything``. Raises ValueError for another scheme."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(url)
        return cls(parts.hostname, parts.port or 80, **options)

    @property
    def busy(self) -> int:
        """Exchanges under way."""
        return len(self._busy)

    async def start(
        self, method: str, target: str, headers: Headers = (), body: bytes = b""
    ) -> Exchange:
        """Send a request; ``target`` is path and query. Raises UpstreamUnreachable.

        ``Host`` and ``Content-Length`` are set here; hop-by-hop headers must not be among
        ``headers``. HEAD is not offered: its answer has a length without a body.
        """
        request = self._encode(method, target, headers, body)
        connection = self._take_idle()
        reused = connection is not None
        if connection is None:
            connection = await self._connect()
        exchange = Exchange(self, connection, request, retry=reused)
        connection.send(request)
        return exchange

    def close(self) -> None:
        """Close every connection, busy ones too."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        for connection in [*self._idle, *self._busy]:
            connection.abort()
        self._idle.clear()
        self._busy.clear()

    def _encode(self, method: str, target: str, headers: Headers, body: bytes) -> bytes:
        parts = [method.encode("ascii"), b" ", target.encode("ascii"), b" HTTP/1.1\r\n"]
        parts.append(self._host_header)
        lines = 2
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
            lines += 1
        if body or method not in {"GET", "DELETE"}:
            parts.append(b"content-length: %d\r\n" % len(body))
            lines += 1
        head = b"".join(parts)
        if head.count(b"\n") != lines or head.count(b"\r") != lines or " " in target:
            raise ValueError("a line break or a space where none may be, in target or headers")
        return b"".join((head, b"\r\n", body))

    def _take_idle(self) -> _Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()  # the youngest: the others may go stale
            if connection.usable and now - connection.last_used < self.idle_reuse_s:
                self._busy.add(connection)
                return connection
            connection.abort()
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.connect_timeout_s):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self, loop), self.host, self.port
                )
        except TimeoutError as exc:
            raise UpstreamUnreachable(
                f"{self.authority} did not accept a connection within {self.connect_timeout_s:g} s."
            ) from exc
        except OSError as exc:
            raise UpstreamUnreachable(f"{self.authority} is not reachable: {exc}.") from exc
        self._busy.add(connection)
        if self._timer is None:
            self._timer = loop.call_later(self._sweep_s, self._sweep)
        return connection

    def _release(self, connection: _Connection) -> None:
        self._busy.discard(connection)
        if connection.usable and len(self._idle) < MAX_IDLE:
            self._idle.append(connection)
        else:
            connection.abort()

    def _forget(self, connection: _Connection) -> None:
        self._busy.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._idle and now - self._idle[0].last_used >= self.idle_reuse_s:
            self._idle.popleft().abort()
        for connection in [*self._busy]:
            if not connection.paused and now - connection.last_used > self.silence_timeout_s:
                connection.fail(
                    UpstreamTimeout(
                        f"{self.authority} was silent for {self.silence_timeout_s:g} s."
                    )
                )
        again = bool(self._idle or self._busy)
        self._timer = loop.call_later(self._sweep_s, self._sweep) if again else None


class Exchange:
    """One request and its answer."""

    __slots__ = ("_connection", "_request", "_retry", "_upstream", "headers", "status")

    def __init__(
        self, upstream: Upstream, connection: _Connection, request: bytes, *, retry: bool
    ) -> None:
        self._upstream = upstream
        self._connection: _Connection | None = connection
        self._request = request
        self._retry = retry
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []

    async def head(self) -> None:
        """Wait for status and headers.

        A connection kept alive may have died while nobody looked; when it did so before any byte
        of an answer, the request is sent once more on a fresh one.
        """
        while self._connection is not None:
            connection = self._connection
            if connection.head_complete:
                self.status, self.headers = connection.status, connection.headers
                self._request = b""
                return
            if connection.error is not None:
                if not (self._retry and connection.died_untouched):
                    raise connection.error
                self._connection = fresh = await self._upstream._connect()
                self._retry = False
                fresh.send(self._request)
                continue
            await connection.changed()
        raise UpstreamClosed("The exchange was closed.")

    @property
    def at_end(self) -> bool:
        """Everything was read."""
        connection = self._connection
        return connection is None or (connection.complete and not connection.pieces)

    async def read(self) -> bytes:
        """What has arrived and was not read yet, at least one byte; ``b""`` at the end."""
        while (connection := self._connection) is not None:
            if connection.pieces:
                return connection.take()
            if connection.complete:
                break
            if connection.error is not None:
                raise connection.error
            await connection.changed()
        return b""

    async def read_all(self, limit: int) -> bytes:
        """The whole body; raises UpstreamGarbage beyond ``limit`` bytes."""
        pieces, size = [], 0
        while not self.at_end:
            piece = await self.read()
            size += len(piece)
            if size > limit:
                raise UpstreamGarbage(f"The answer is larger than {limit} bytes.")
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Done with it: the connection is kept when the answer was complete, else closed now."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.pieces.clear()
        self._upstream._release(connection)


class _Connection(asyncio.Protocol):
    """A socket and the answer that is arriving on it. httptools calls the ``on_*`` methods."""

    __slots__ = (
        "_bytes", "_framing", "_loop", "_parser", "_touched", "_transport", "_upstream",
        "_waiter", "complete", "error", "framed", "head_complete", "headers", "keep_alive",
        "last_used", "paused", "pieces", "status",
    )  # fmt: skip

    def __init__(self, upstream: Upstream, loop: asyncio.AbstractEventLoop) -> None:
        self._upstream = upstream
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.last_used = loop.time()
        self.pieces: list[bytes] = []
        self.error: UpstreamError | None = None
        self.paused = False
        self.keep_alive = True
        self._reset()
        self.complete = True  # nothing is under way yet

    def _reset(self) -> None:
        self._bytes = self._framing = self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.head_complete = self.complete = self.framed = self._touched = False

    @property
    def usable(self) -> bool:
        """It may carry the next request."""
        return self.complete and self.keep_alive and self.error is None and not self.paused

    @property
    def died_untouched(self) -> bool:
        """It was closed by the other side, and no byte of this answer had come."""
        return isinstance(self.error, UpstreamClosed) and not self._touched

    def send(self, request: bytes) -> None:
        self._reset()
        self.last_used = self._loop.time()
        if self._transport is not None:
            self._transport.write(request)

    async def changed(self) -> None:
        """Wait until data, the end or an error came. One reader at a time."""
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def take(self) -> bytes:
        pieces = self.pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._bytes = 0
        if self.paused and self._transport is not None:
            self.paused = False
            self.last_used = self._loop.time()
            self._transport.resume_reading()
        return data

    def fail(self, error: UpstreamError) -> None:
        """Give up: whoever reads gets ``error``; the socket closes now."""
        if self.error is None and not self.complete:
            self.error = error
        self.abort()
        self._wake()

    def abort(self) -> None:
        self.keep_alive = False
        if self._transport is not None:
            self._transport.abort()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self.complete:  # data that nobody asked for
            self.abort()
            return
        if not self._touched and not b"HTTP/".startswith(data[:5]):  # llhttp also takes RTSP's
            self.fail(UpstreamGarbage(f"{self._upstream.authority} does not speak HTTP."))
            return
        self._touched = True
        if len(data) <= _PARSED_AT_ONCE:
            self._parse(data)
        else:
            whole = memoryview(data)
            for start in range(0, len(data), _PARSED_AT_ONCE):
                self._parse(whole[start : start + _PARSED_AT_ONCE])
        if self.error is not None:
            return
        if self._bytes > HIGH_WATER and not self.paused and self._transport is not None:
            self.paused = True
            self._transport.pause_reading()
        waiter = self._waiter
        if waiter is not None and not waiter.done() and (self.head_complete or self.complete):
            waiter.set_result(None)

    def _parse(self, data: bytes | memoryview) -> None:
        if self.error is not None:
            return
        name = self._upstream.authority
        self._framing += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self.fail(UpstreamGarbage(f"{name} sent no valid HTTP: {exc.__context__ or exc}."))
            return
        if self._framing > MAX_HEAD_BYTES:
            self.fail(UpstreamGarbage(f"{name} sent headers or trailers without an end."))
        self._framing = max(self._framing, 0)

    def connection_lost(self, exc: Exception | None) -> None:
        self.keep_alive = False
        self._transport = None
        if not self.complete and self.error is None:
            if self.head_complete and not self.framed and exc is None:
                self.complete = True  # an answer that ends where the connection ends
            else:
                self.error = UpstreamClosed(
                    f"{self._upstream.authority} closed the connection before its answer was "
                    "complete."
                )
        self._upstream._forget(self)
        self._wake()

    # httptools

    def on_message_begin(self) -> None:
        if self.complete:
            # A second answer behind the first would be taken for the next request's.
            raise ValueError("an answer that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in FRAMING:
            if self.head_complete:
                raise ValueError("a trailer that would change the framing")
            self.framed = True
        if not self.head_complete:  # else a trailer, which is no header (RFC 9110, 6.5.1)
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if (version := self._parser.get_http_version()) not in {"1.1", "1.0"}:
            raise ValueError(f"HTTP/{version}")
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings not in ([], [b"chunked"]):
            raise ValueError("a transfer coding beside chunked")
        status = self._parser.get_status_code()
        if status < 200:  # 100 Continue and its like: the answer follows
            return
        self.status = status
        self.keep_alive = self._parser.should_keep_alive()
        self.framed = self.framed or status in {204, 304}
        self.head_complete = True
        self._framing = 0
        self.last_used = self._loop.time()

    def on_chunk_header(self) -> None:
        self._framing -= _CHUNK_LINES

    def on_body(self, body: bytes) -> None:
        self._framing -= len(body)
        self.pieces.append(body)
        self._bytes += len(body)
        self.last_used = self._loop.time()

    def on_message_complete(self) -> None:
        if not self.head_complete:  # an interim answer; its bytes still count
            self.headers.clear()
            self.framed = False
        else:
            self.complete = True


def forwardable(
    headers: Iterable[tuple[bytes, bytes]], without: frozenset[bytes]
) -> list[tuple[bytes, bytes]]:
    """``headers`` without hop-by-hop ones and those in ``without``, for the other side.

    Also without those that ``Connection`` names as meant for this hop only (RFC 9110, 7.6.1).
    """
    headers = list(headers)
    kept = [pair for pair in headers if pair[0] not in HOP_BY_HOP and pair[0] not in without]
    for name, value in headers:
        if name == b"connection":
            named = {token.strip().lower() for token in value.split(b",")}
            kept = [pair for pair in kept if pair[0] not in named]
    return kept
