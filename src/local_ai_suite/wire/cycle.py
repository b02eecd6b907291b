"""One request and its answer on a client's connection: ASGI's ``receive`` and ``send``."""

from __future__ import annotations

import asyncio
import http
import time
from typing import TYPE_CHECKING, Any, Protocol

from local_ai_suite.wire.head import FRAMING

if TYPE_CHECKING:
    from local_ai_suite.wire.asgi import Message, Scope

# Above this much of a body that its application has not asked for, the client is held back.
BODY_HIGH_WATER = 64 * 1024
# A head and a body up to this size are one write; to join larger ones costs more than it saves.
_JOINED = 64 * 1024

STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in http.HTTPStatus
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_DISCONNECT: Message = {"type": "http.disconnect"}
_BODYLESS = frozenset({204, 304})


class Client(Protocol):
    """The connection that a cycle writes to."""

    @property
    def transport(self) -> asyncio.Transport | None:
        """``None`` once the connection is lost."""

    @property
    def drained(self) -> asyncio.Future[None] | None:
        """What to wait for (shielded: it is shared) before writing more; ``None``: go on."""

    def write(self, data: bytes) -> None:
        """Send ``data``."""

    def go_on(self) -> None:
        """The application has taken what came."""


class RequestCycle:
    """What an application gets of one request. ``keep_alive``: another one may follow it."""

    __slots__ = (
        "_body",
        "_bodyless",
        "_chunked",
        "_connection",
        "_ended",
        "_expects",
        "_held",
        "_left",
        "_size",
        "_waiter",
        "complete",
        "keep_alive",
        "lost",
        "more_body",
        "scope",
        "started",
    )

    def __init__(self, connection: Client, scope: Scope, *, keep_alive: bool) -> None:
        self._connection = connection
        self.scope = scope
        self.keep_alive = keep_alive
        self._body: list[bytes] = []
        self._size = 0
        self.more_body = True
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None
        self._expects = scope["http_version"] == "1.1" and any(
            name == b"expect" for name, _ in scope["headers"]
        )
        self.started = self.complete = self.lost = False
        self._bodyless = self._chunked = False
        self._left: int | None = None
        self._held = b""

    @property
    def full(self) -> bool:
        """More of its body has come than its application has asked for."""
        return self._size > BODY_HIGH_WATER

    @property
    def takes_interim(self) -> bool:
        """A 1xx answer may be sent now (RFC 9110, 15.2: never to HTTP/1.0)."""
        return not self.started and self.scope["http_version"] == "1.1"

    def add(self, body: bytes) -> None:
        """Some of the request's body has come."""
        if self.complete:
            return
        self._body.append(body)
        self._size += len(body)
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
        """ASGI's: the next part of the body, or that the client is gone."""
        if self._expects and not self.started and self.more_body:
            self._connection.write(CONTINUE)
        self._expects = False
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
            # Shared: whoever else waits must not be cancelled with the first.
            if self._waiter is None:
                self._waiter = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._waiter)

    async def send(self, message: Message) -> None:
        """ASGI's: the answer's head or a part of its body; waits while the client is behind."""
        connection = self._connection
        while (drained := connection.drained) is not None and not self.lost:
            await asyncio.shield(drained)
        if self.lost or connection.transport is None:
            return
        kind = message["type"]
        if kind == "http.response.body" and self.started and not self.complete:
            self._send_body(connection, message.get("body", b""), message.get("more_body", False))
        elif kind == "http.response.start" and not self.started:
            self.started = True
            # An answer that comes before its request's end does not wait for the rest.
            self.keep_alive = self.keep_alive and not self.more_body
            head = self._head(message["status"], message.get("headers", ()))
            if self._left and not self._bodyless:
                self._held = head  # a whole answer: its body follows at once, in the same write
            else:
                connection.write(head)
        else:
            raise RuntimeError(f"{kind} does not come at this point of an answer")

    def _head(self, status: int, headers: Any) -> bytes:
        lines = [STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        self._bodyless = status in _BODYLESS or self.scope["method"] == "HEAD"
        closes = dated = False
        for name, value in headers:
            if name == b"connection":
                closes = value.lower() == b"close"
            elif name == b"date":
                dated = True
            elif name == b"content-length" and status != 204:  # RFC 9110, 8.6
                self._left = int(value)
            elif name in FRAMING:
                continue  # framing is the server's, whatever an application says
            lines.append(b"%b: %b\r\n" % (name, value))
        if not dated:
            lines.append(_date_line())
        lines += self._framing()
        self.keep_alive = self.keep_alive and not closes
        if not self.keep_alive and not closes:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
            self.started = self._chunked = False
            self._left = None
            raise ValueError("a line break in a header of the answer")
        return head + b"\r\n"

    def _framing(self) -> tuple[bytes, ...]:
        if self._left is not None or self._bodyless:
            return ()
        if self.scope["http_version"] == "1.1":
            self._chunked = True
            return (b"transfer-encoding: chunked\r\n",)
        self.keep_alive = False  # the answer ends where the connection ends
        return ()

    def _send_body(self, connection: Client, body: bytes, more: bool) -> None:
        if self._chunked:
            if body:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            connection.write(body if more else body + b"0\r\n\r\n")
        elif not self._bodyless:
            if self._left is not None:
                self._left -= len(body)
                if self._left < 0 or (self._left and not more):
                    raise RuntimeError("the body is not as long as content-length says")
            if head := self._held:
                self._held = b""
                if len(body) <= _JOINED:
                    body = head + body
                else:
                    connection.write(head)
            connection.write(body)
        if not more:
            self.complete = True
            self._wake()


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_dated: tuple[int, bytes] = (0, b"")


def _date_line() -> bytes:
    """RFC 9110, 6.6.1: an origin server with a clock says the date; made once a second.

    Not by ``strftime``, whose names follow the locale, nor by ``email.utils``, whose import takes
    longer than that of the whole gateway.
    """
    global _dated  # noqa: PLW0603 (a cache of one)
    now = int(time.time())
    if _dated[0] != now:
        at = time.gmtime(now)
        text = (
            f"date: {_DAYS[at.tm_wday]}, {at.tm_mday:02} {_MONTHS[at.tm_mon - 1]} {at.tm_year} "
            f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT\r\n"
        )
        _dated = now, text.encode("ascii")
    return _dated[1]
