"""Serving an ASGI application on both loopbacks, with bounds.

uvicorn's HTTP protocol (httptools) without its server loop: this one stops within a bound, needs
no 0.1 s tick, and adds what uvicorn leaves to a proxy in front of it: limits on the size and time
of request heads, an error body in JSON, and a hang-up that cancels the request's task at once.

An application's promise in return: it lets ``asyncio.CancelledError`` through (cleaning up in
``finally``); that is how it learns that its client is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import signal
import socket
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from local_ai_suite.errors import PortInUse, StackError
from local_ai_suite.wire.asgi import answer
from local_ai_suite.wire.envelope import api_of, error_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from local_ai_suite.wire.asgi import App, Receive, Scope, Send

logger = logging.getLogger(__name__)

# A request's head comes in one packet; ten seconds is generous and ends a slow loris.
HEAD_TIMEOUT_S = 10.0
MAX_HEAD_BYTES = 64 * 1024
# Longer than clients' own pools keep an idle connection (httpx 5 s, undici 4 s, Go 90 s at most).
KEEP_ALIVE_S = 75.0
# On SIGTERM answers under way may end; whoever stops the service waits 10 s in all.
GRACE_S = 5.0
# A client that reads nothing for this long, with an answer waiting for it, is gone: it holds a slot
# of the engine. SDKs read as fast as bytes come; a laptop that slept is back or has reconnected.
STALL_S = 300.0
BACKLOG = 2048
# How long a refused connection is read before it is reset.
LINGER_S = 2.0

_LOOPBACKS = {"127.0.0.1", "localhost", "::1"}
_PORT_TRIES = 20
_EXTENSION = "lais.connection"


class Listeners(list[socket.socket]):
    """Bound sockets of one port. ``port`` is the port, also when 0 was asked for."""

    @property
    def port(self) -> int:
        return int(self[0].getsockname()[1])

    @property
    def urls(self) -> list[str]:
        names = [sock.getsockname()[0] for sock in self]
        return [f"http://{f'[{n}]' if ':' in n else n}:{self.port}" for n in names]

    def close(self) -> None:
        for sock in self:
            sock.close()


def listen(address: str, port: int) -> Listeners:
    """Bind ``address``; a loopback address binds both, 127.0.0.1 and ::1.

    ``localhost`` may resolve to ::1 only in WSL2 (WSL#4671), so one of the two is not enough;
    a machine without IPv6 gets the other. Raises PortInUse.
    """
    if address not in _LOOPBACKS:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return Listeners([_bind(family, address, port)])
    for attempt in range(_PORT_TRIES):
        first = _bind(socket.AF_INET, "127.0.0.1", port)
        found = Listeners([first])
        if not _has_ipv6():
            return found
        try:
            found.append(_bind(socket.AF_INET6, "::1", found.port))
        except PortInUse:
            # With port 0 the second address may be taken by somebody else: try another.
            found.close()
            if port or attempt == _PORT_TRIES - 1:
                raise
        else:
            return found
    raise AssertionError("unreachable")


def _has_ipv6() -> bool:
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def _bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address != "::")
        sock.bind((address, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as exc:
        sock.close()
        if exc.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"Port {port} on {address} is in use.",
                hint="Stop what uses it, or set another port in .env.",
                port=port,
            ) from exc
        raise StackError(
            f"Cannot listen on {address} port {port}: {exc}.",
            hint="Check BIND_ADDRESS and the port in .env.",
        ) from exc
    return sock


class Server:
    """An application being served. ``start``, later ``stop``; or ``serve_until``."""

    def __init__(
        self,
        app: App,
        listeners: Listeners,
        *,
        head_timeout_s: float = HEAD_TIMEOUT_S,
        keep_alive_s: float = KEEP_ALIVE_S,
        grace_s: float = GRACE_S,
        stall_s: float = STALL_S,
    ) -> None:
        self._stall_s = stall_s
        self.listeners = listeners
        self.port = listeners.port
        self._head_timeout_s = head_timeout_s
        self._grace_s = grace_s
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []
        self._config = Config(
            _cancelled_on_hang_up(app),
            loop="none",
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=int(keep_alive_s),
            interface="asgi3",
        )
        self._config.load()

    async def start(self) -> None:
        """Accept connections."""
        loop = asyncio.get_running_loop()
        for sock in self.listeners:
            self._servers.append(
                await loop.create_server(self._protocol, sock=sock, backlog=BACKLOG)
            )

    async def stop(self, grace_s: float | None = None) -> None:
        """Accept no more, let answers under way end for ``grace_s``, then cut them off."""
        for server in self._servers:
            server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        deadline = asyncio.get_running_loop().time() + (
            self._grace_s if grace_s is None else grace_s
        )
        while self._state.tasks and (rest := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(list(self._state.tasks), timeout=rest)
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
        for connection in list(self._state.connections):
            if connection.transport is not None:
                connection.transport.abort()

    async def serve_until(self, stopping: asyncio.Event) -> None:
        """Serve until ``stopping`` is set."""
        await self.start()
        try:
            await stopping.wait()
        finally:
            await self.stop()

    async def __aenter__(self) -> Server:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop(0)

    def _protocol(self) -> _Protocol:
        return _Protocol(
            self._config,
            self._state,
            {},
            head_timeout_s=self._head_timeout_s,
            stall_s=self._stall_s,
        )


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds on the head, JSON errors and word of a hang-up."""

    def __init__(
        self,
        *args: Any,
        head_timeout_s: float = HEAD_TIMEOUT_S,
        stall_s: float = STALL_S,
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self._head_timeout_s = head_timeout_s
        self._head_bytes = 0
        self._in_head = False
        self._refused = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_s = stall_s
        self._stall_timer: asyncio.TimerHandle | None = None
        self._served_app = self.app
        self.request_task: asyncio.Task[Any] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._stop_stall_timer()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        if self.request_task is not None:
            self.request_task.cancel()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self._stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_stall_timer()
        super().resume_writing()

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self.parser is None or self._refused or self.transport.is_closing():
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._go_on_without_upgrade(data[exc.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(400, "bad_request", "The request is not valid HTTP/1.1.")
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(431, "headers_too_large", "The request's headers are too large.")
                return
        if self._head_timer is None and (self._in_head or self._is_idle()):
            self._expect_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        self.scope["extensions"] = {_EXTENSION: self}  # type: ignore[dict-item]

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        # "Upgrade: h2c" (Java's HttpClient sends it, and with it JetBrains' IDEs): we answer in
        # HTTP/1.1. llhttp takes such a request as complete without its body, so the head is parsed
        # once more without the wish.
        if self.parser.get_method() == b"CONNECT":
            self._refuse(405, "method_not_allowed", "This is not a proxy.")
            return
        head = b"".join(
            b"%b: %b\r\n" % (name, value)
            for name, value in self.headers
            if name not in {b"upgrade", b"connection", b"http2-settings"}
        )
        line = b"%b %b HTTP/1.1\r\n" % (self.parser.get_method(), self.url)
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join((line, head, b"\r\n", rest)))

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._in_head = False
        self._stop_head_timer()
        size = sum(len(name) + len(value) for name, value in self.headers) + len(self.url)
        self.app = self._served_app if size <= MAX_HEAD_BYTES else _head_too_large
        super().on_headers_complete()

    def _is_idle(self) -> bool:
        done = self.cycle is None or self.cycle.response_complete
        return done and self.timeout_keep_alive_task is None

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self._head_timeout_s, self._head_late)

    def _head_late(self) -> None:
        self._head_timer = None
        if self._in_head:
            self._refuse(408, "request_timeout", "The request's headers did not arrive in time.")
        elif self._is_idle() and not self.transport.is_closing():
            self.transport.close()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "bad_request", msg)

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._stop_head_timer()
        if self._refused or self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            body = error_body("openai", status, message, code=code)
            self.transport.write(
                STATUS_LINE[status]
                + b"content-type: application/json\r\nconnection: close\r\n"
                + b"content-length: %d\r\n\r\n" % len(body)
                + body
            )
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True  # its application has nobody to talk to any more
        # Closing with unread data resets the connection, and the client would never read the
        # answer: so end our side, and throw away what still comes for a moment.
        self._refused = True
        self.transport.write_eof()
        self._head_timer = self.loop.call_later(LINGER_S, self.transport.abort)


async def _head_too_large(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    message = "The request's headers are too large."
    body = error_body(api_of(scope["path"]), 431, message, code="headers_too_large")
    await answer(send, 431, body, headers=[(b"connection", b"close")])


def _cancelled_on_hang_up(app: App) -> App:
    async def serve_one(scope: Scope, receive: Receive, send: Send) -> None:
        connection: _Protocol = scope["extensions"][_EXTENSION]
        connection.request_task = asyncio.current_task()
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            # Gone, or the server is stopping: nothing more is sent; the socket closes.
            connection.cycle.disconnected = True
            if connection.transport is not None:
                connection.transport.close()
        finally:
            connection.request_task = None

    return serve_one


def run(main: Callable[[asyncio.Event], Coroutine[Any, Any, int]]) -> int:
    """Run a service's ``main`` on uvloop; SIGTERM and SIGINT set the event that it is given."""
    try:
        import uvloop  # noqa: PLC0415 (absent on Windows)

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_with_signals(main))


async def _with_signals(main: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, stopping.set)
    # What start-up made lives as long as the process: a collection need not look at it again.
    gc.collect()
    gc.freeze()
    return await main(stopping)
