"""One client's connection: HTTP/1.1 in, ASGI calls, HTTP/1.1 out.

httptools parses, ``head`` judges, ``cycle`` frames the answers. This keeps the order of pipelined
requests, holds back a fast client or a fast application, and bounds in bytes and in time whatever
may come or fail to come: a head, a body, trailers, silence, a reader that does not read. One timer
per connection looks after all of these.

A connection that is lost cancels the task that serves its request: an application lets
``asyncio.CancelledError`` through and cleans up in ``finally``.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from typing import TYPE_CHECKING, Any

import httptools

from local_ai_suite.wire.asgi import answer
from local_ai_suite.wire.cycle import CONTINUE, STATUS_LINES, RequestCycle
from local_ai_suite.wire.envelope import envelope_of, error_for
from local_ai_suite.wire.head import (
    FRAMING,
    MAX_HEAD_BYTES,
    HeadRefused,
    check_head,
    check_method,
    read_target,
    without_upgrade,
)

if TYPE_CHECKING:
    from local_ai_suite.wire.asgi import Scope
    from local_ai_suite.wire.state import ServerState

logger = logging.getLogger(__name__)

# So much is parsed before the limits are looked at; it is how far they may be passed.
_PARSED_AT_ONCE = 16 * 1024
# What a chunk's size line and line ends may take before they count as overhead: 16 digits of size.
_CHUNK_LINES = 20
# So many requests may wait for the one that is served; then the client is held back.
MAX_PIPELINED = 16
# How long a refused connection is read before it is reset, and how many bytes of it.
LINGER_S = 2.0
LINGER_BYTES = 16 * 1024 * 1024
# When a client has ended its side, how long until it is asked whether it is still there, again and
# again: first soon (a hang-up frees its slot), then seldom.
_PROBES_S = (0.002, 0.003, 0.02, 0.1, 0.5, 1.5)
_LAST_PROBES_S = 5.0
# So many may read why they are not let in; others of a flood are cut off.
_TOLD_AT_MOST = 32

_ASGI = {"version": "3.0", "spec_version": "2.3"}


class Connection(asyncio.Protocol):
    """A protocol for ``loop.create_server``. httptools calls the ``on_*`` methods."""

    __slots__ = (
        "_client", "_closing_soon", "_deaf", "_drained", "_ended", "_fault", "_framing",
        "_fresh", "_headers", "_in_head", "_last", "_lingering", "_local", "_loop", "_moved",
        "_parser", "_reading", "_reading_paused", "_sent", "_serving", "_since", "_state",
        "_task", "_timer", "_transport", "_url", "_waiting", "_written",
    )  # fmt: skip

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._client: tuple[str, int] | None = None
        self._local: tuple[str, int] | None = None
        self._timer: asyncio.TimerHandle | None = None
        # The request that is being read, those that wait for it (pipelining), the one served.
        self._reading: RequestCycle | None = None
        self._waiting: deque[RequestCycle] = deque()
        self._serving: RequestCycle | None = None
        self._task: asyncio.Task[None] | None = None
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._framing = 0  # bytes of this message that are no body: head, chunk lines, trailers
        self._in_head = False
        self._fresh = True  # no request has come yet
        self._last = False  # no request may follow the one that is being read
        self._deaf = False  # what comes is thrown away
        self._ended = False  # the client has ended its side
        self._fault: HeadRefused | None = None  # said when the answers before it are given
        self._lingering = self._closing_soon = False
        self._since = self._loop.time()  # of the head or body that is being read, or of idleness
        self._written = self._sent = 0  # bytes given to the transport, and by it to the system
        self._moved = self._since  # when some were last sent
        self._drained: asyncio.Future[None] | None = None
        self._reading_paused = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._client = _address(transport.get_extra_info("peername"))
        self._local = _address(transport.get_extra_info("sockname"))
        state = self._state
        self._timer = self._loop.call_later(state.tick_s, self._tick)
        if state.admit(self):
            return
        if len(state.connections) > state.max_connections + _TOLD_AT_MOST:
            self._transport.abort()  # type: ignore[union-attr]
            return
        message = "Too many connections are open. Try again in a moment."
        self._say(HeadRefused(503, "too_many_connections", message), b"retry-after: 1\r\n")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        self._transport = None
        self._state.forget(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._serving is not None:
            self._serving.lose()
        if self._task is not None:
            self._task.cancel()
        self._waiting.clear()
        self.resume_writing()

    def pause_writing(self) -> None:
        if self._drained is None:
            self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def data_received(self, data: bytes) -> None:
        if len(data) <= _PARSED_AT_ONCE:
            self._parse(data)
            return
        whole = memoryview(data)
        for start in range(0, len(data), _PARSED_AT_ONCE):
            self._parse(whole[start : start + _PARSED_AT_ONCE])

    def eof_received(self) -> bool:
        """The client has ended its side: it has hung up, or waits for what it asked for.

        The two look alike until something is sent to it. Whoever ended it before the answer began
        is asked by an interim answer (RFC 9110, 15.2), which a client that is gone refuses at once;
        one that ends it later is taken to have hung up.
        """
        self._ended = True
        serving = self._serving
        if self._lingering or self._transport is None:
            return False
        if self._reading is not None or (self._in_head and not self._deaf):
            self._refuse(HeadRefused(400, "bad_request", "The request ended in its middle."))
        elif serving is None or serving.started:
            return False
        else:
            self._loop.call_later(_PROBES_S[0], self._probe)
        return True

    # httptools

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._framing = 0
        self._in_head = True
        self._since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # After the head they are trailers, which nothing here may take for headers (RFC 9110,
        # 6.5.1): dropped.
        name = name.lower()
        if self._in_head:
            self._headers.append((name, value))
        elif name in FRAMING:
            message = f"{name.decode('latin-1')} may not be a trailer."
            raise HeadRefused(400, "bad_request", message)

    def on_headers_complete(self) -> None:
        self._in_head = self._fresh = False
        parser = self._parser
        method = parser.get_method()
        check_method(method)
        if parser.should_upgrade():
            return
        version = parser.get_http_version()
        check_head(version, self._headers)
        target = read_target(method, self._url)
        headers = self._headers
        if target.host is not None:
            headers = [(b"host", target.host), *(pair for pair in headers if pair[0] != b"host")]
        scope: Scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": method.decode("ascii"),
            "scheme": "http",
            "path": target.path,
            "raw_path": target.raw_path,
            "query_string": target.query,
            "root_path": "",
            "headers": headers,
            "client": self._client,
            "server": self._local,
        }
        keep_alive = version == "1.1" and parser.should_keep_alive()
        self._last = not keep_alive
        self._since = self._loop.time()
        cycle = self._reading = RequestCycle(
            self, scope, keep_alive=keep_alive and not self._closing_soon
        )
        if self._serving is None:
            self._serve(cycle)
        else:
            self._waiting.append(cycle)
            self._hold_or_go_on()

    def on_chunk_header(self) -> None:
        self._framing -= _CHUNK_LINES

    def on_body(self, body: bytes) -> None:
        self._framing -= len(body)
        if self._reading is not None:
            self._reading.add(body)
            self._hold_or_go_on()

    def on_message_complete(self) -> None:
        if self._reading is not None and not self._parser.should_upgrade():
            self._reading.add_end()
            self._reading = None
            self._deaf = self._deaf or self._last

    # For the server and the cycles

    @property
    def transport(self) -> asyncio.Transport | None:
        """``None`` once the connection is lost."""
        return self._transport

    @property
    def drained(self) -> asyncio.Future[None] | None:
        """What to wait for (shielded: it is shared) before writing more; ``None``: go on."""
        return self._drained

    def write(self, data: bytes) -> None:
        """Send ``data``, counted, so that a reader's progress can be told from its standstill."""
        if self._transport is not None:
            self._written += len(data)
            self._transport.write(data)

    def shut_down(self) -> None:
        """Close when idle, else after the answer that is under way."""
        self._closing_soon = True
        if self._serving is not None:
            self._serving.keep_alive = False
        elif self._transport is not None and not self._lingering:
            self._transport.close()

    def give_way(self) -> None:
        """Close for the sake of a new connection."""
        self._state.forget(self)
        if self._transport is not None:
            self._transport.abort()

    def go_on(self) -> None:
        """The application has taken what came: read again, unless something else forbids it."""
        if self._reading_paused:
            self._hold_or_go_on()

    # Reading

    def _parse(self, data: bytes | memoryview) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._framing += len(data)
        if self._deaf:
            if self._framing > LINGER_BYTES:
                self._transport.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._go_on_without_upgrade(data[exc.args[0] :])
        except httptools.HttpParserError as exc:
            if self._deaf:
                return  # what follows the last request is nobody's
            known = exc.__context__ if isinstance(exc.__context__, HeadRefused) else None
            self._refuse(
                known or HeadRefused(400, "bad_request", "The request is not valid HTTP/1.1.")
            )
        else:
            if self._framing > MAX_HEAD_BYTES:
                part = "headers" if self._in_head else "trailers or chunk extensions"
                message = f"The request's {part} are too large."
                self._refuse(HeadRefused(431, "headers_too_large", message))
            # A small message's body may have come in the same piece as what began it.
            self._framing = max(self._framing, 0)

    def _hold_or_go_on(self) -> None:
        transport, waiting = self._transport, self._waiting
        if transport is None or self._ended or transport.is_closing():
            return
        full = len(waiting) >= MAX_PIPELINED or any(cycle.full for cycle in waiting)
        if full or (self._serving is not None and self._serving.full and not self._lingering):
            if not self._reading_paused:
                self._reading_paused = True
                transport.pause_reading()
        elif self._reading_paused:
            self._reading_paused = False
            self._since = self._loop.time()
            transport.resume_reading()

    def _go_on_without_upgrade(self, rest: bytes | memoryview) -> None:
        # "Upgrade: h2c" (Java's HttpClient sends it, and with it JetBrains' IDEs): we answer in
        # HTTP/1.1. llhttp takes such a request as complete without its body, so the head is parsed
        # once more without the wish.
        parser = self._parser
        head = without_upgrade(
            parser.get_method(), self._url, parser.get_http_version(), self._headers
        )
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join((head, rest)))

    # Serving

    def _serve(self, cycle: RequestCycle) -> None:
        self._serving = cycle
        self._since = self._loop.time()
        self._state.unserved.pop(self, None)
        task = self._task = self._loop.create_task(self._run(cycle))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    async def _run(self, cycle: RequestCycle) -> None:
        try:
            await self._state.app(cycle.scope, cycle.receive, cycle.send)
        except asyncio.CancelledError:
            cycle.lose()  # gone, or the server is stopping: nothing more is sent
        except Exception:
            logger.exception("the application failed")
            await self._apologise(cycle)
        else:
            if not cycle.complete and not cycle.lost:
                logger.error("the application ended without a complete answer")
                await self._apologise(cycle)
        self._task = None
        self._finished(cycle)

    async def _apologise(self, cycle: RequestCycle) -> None:
        if cycle.started:
            cycle.lose()  # cut off: half an answer must not look whole
            return
        path = cycle.scope["path"]
        error = error_for(500, "The server failed.", code="internal_error")
        body = envelope_of(path).body(500, error)
        await answer(cycle.send, 500, body, headers=[(b"connection", b"close")])

    def _finished(self, cycle: RequestCycle) -> None:
        self._serving = None
        self._since = self._loop.time()
        transport = self._transport
        if transport is None or self._lingering:
            return
        if cycle.lost or not cycle.complete:
            transport.abort()
        elif self._closing_soon and not cycle.more_body:
            transport.close()
        elif not cycle.keep_alive or cycle.more_body:
            self._linger()  # with a body that nobody read, the next request cannot be found
        elif self._waiting:
            self._serve(self._waiting.popleft())
            self.go_on()
        elif self._fault is not None:
            self._say(self._fault)
        elif self._ended:
            transport.close()
        else:
            self._state.unserved[self] = None
            self.go_on()

    # Refusing, and telling who is still there

    def _refuse(self, fault: HeadRefused) -> None:
        """Say ``fault`` when the answers that are due before it are given, then close."""
        if self._deaf:
            return
        self._deaf = True
        reading, self._reading = self._reading, None
        serving = self._serving
        if reading is not None and reading in self._waiting:
            self._waiting.remove(reading)
        if serving is None:
            self._say(fault)
        elif serving is not reading:
            self._fault = fault
        else:
            # Its application has nobody to talk to any more.
            serving.lose()
            self._say(fault if not serving.started else None)
            if self._task is not None:
                self._task.cancel()

    def _say(self, fault: HeadRefused | None, headers: bytes = b"") -> None:
        if fault is not None:
            error = error_for(fault.status, fault.message, code=fault.code)
            body = envelope_of(self._url.decode("latin-1")).body(fault.status, error)
            self.write(
                STATUS_LINES[fault.status]
                + b"content-type: application/json\r\nconnection: close\r\n"
                + headers
                + b"content-length: %d\r\n\r\n" % len(body)
                + body
            )
        self._linger()

    def _linger(self) -> None:
        # Closing with unread data resets the connection, and the client would never read the
        # answer: so end our side, and throw away what still comes for a moment (RFC 9112, 9.6).
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._lingering = self._deaf = True
        self._waiting.clear()
        if self._ended:
            transport.close()
            return
        self.go_on()
        transport.write_eof()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(LINGER_S, self._lingered)

    def _probe(self, asked: int = 1) -> None:
        transport, serving = self._transport, self._serving
        if transport is None or serving is None or serving.started:
            return  # from now on the answer itself will tell
        sock = transport.get_extra_info("socket")
        gone = sock is not None and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if gone or (asked == len(_PROBES_S) and not serving.takes_interim):
            transport.abort()
            return
        if serving.takes_interim:
            self.write(CONTINUE)
        delay = _PROBES_S[asked] if asked < len(_PROBES_S) else _LAST_PROBES_S
        self._loop.call_later(delay, self._probe, min(asked + 1, len(_PROBES_S)))

    def _tick(self) -> None:
        now, state, transport = self._loop.time(), self._state, self._transport
        if transport is None:
            return
        self._timer = self._loop.call_later(state.tick_s, self._tick)
        age = now - self._since
        if self._is_stalled(transport):
            transport.abort()
        elif transport.is_closing() or self._reading_paused:
            return
        elif self._serving is not None:
            if self._reading is self._serving and age >= state.body_timeout_s:
                self._refuse(_too_slow("body"))
        elif self._in_head:
            if age >= state.head_timeout_s:
                self._refuse(_too_slow("head"))
        elif age >= (state.head_timeout_s if self._fresh else state.keep_alive_s):
            transport.close()

    def _lingered(self) -> None:
        transport = self._transport
        if transport is None:
            return
        if not transport.get_write_buffer_size() or self._is_stalled(transport):
            transport.abort()
        else:
            self._timer = self._loop.call_later(LINGER_S, self._lingered)

    def _is_stalled(self, transport: asyncio.Transport) -> bool:
        """The client takes nothing of what waits for it; one that reads slowly is not stalled."""
        unsent = transport.get_write_buffer_size()
        sent, now = self._written - unsent, self._loop.time()
        if sent > self._sent or not unsent:
            self._sent, self._moved = sent, now
        return now - self._moved >= self._state.stall_s


def _too_slow(part: str) -> HeadRefused:
    return HeadRefused(408, "request_timeout", f"The request's {part} did not arrive in time.")


def _address(name: Any) -> tuple[str, int] | None:
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
