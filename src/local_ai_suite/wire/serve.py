"""Serving an ASGI application on both loopbacks, with bounds.

An application's promise in return: it lets ``asyncio.CancelledError`` through (cleaning up in
``finally``); that is how it learns that its client is gone (``connection.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import signal
import socket
from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import PortInUse, StackError
from local_ai_suite.wire.connection import Connection
from local_ai_suite.wire.state import ServerState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from local_ai_suite.wire.asgi import App

# A request's head comes in one packet; ten seconds is generous and ends a slow loris.
HEAD_TIMEOUT_S = 10.0
# Past the minute that an application gives a body (``asgi.read_body``): for one that waits for it
# without a bound of its own.
BODY_TIMEOUT_S = 75.0
# Longer than clients' own pools keep an idle connection (httpx 5 s, undici 4 s, Go 90 s at most).
KEEP_ALIVE_S = 75.0
# On SIGTERM answers under way may end; whoever stops the service waits 10 s in all.
GRACE_S = 5.0
# A client that reads nothing for this long, with an answer waiting for it, is gone: it holds a slot
# of the engine. SDKs read as fast as bytes come; a laptop that slept is back or has reconnected.
STALL_S = 300.0
BACKLOG = 2048
# An idle connection costs some 4 KiB and a descriptor. Beyond this many, or what the system's limit
# of descriptors allows, a new one takes the place of the one that has been idle longest.
MAX_CONNECTIONS = 10_000
# Left for the engine's and LiteLLM's pipes, logs, key files, listening sockets.
RESERVED_DESCRIPTORS = 128
# What is asked of the system at start; a shell's usual limit is 1024.
WANTED_DESCRIPTORS = 2 * MAX_CONNECTIONS + RESERVED_DESCRIPTORS

_LOOPBACKS = {"127.0.0.1", "localhost", "::1"}
_ALL_ADDRESSES = {"0.0.0.0", "::"}  # noqa: S104 (compared with)
_PORT_TRIES = 20


class Listeners(list[socket.socket]):
    """Bound sockets of one port. ``port`` is the port, also when 0 was asked for."""

    @property
    def port(self) -> int:
        """The port of all of them."""
        return int(self[0].getsockname()[1])

    @property
    def urls(self) -> list[str]:
        """``http://address:port`` of each, IPv6 addresses in brackets."""
        names = [sock.getsockname()[0] for sock in self]
        return [f"http://{f'[{n}]' if ':' in n else n}:{self.port}" for n in names]

    def close(self) -> None:
        """Close the sockets: nobody can connect any more."""
        for sock in self:
            sock.close()


def listen(address: str, port: int) -> Listeners:
    """Bind ``address``; a loopback address binds both, 127.0.0.1 and ::1, and so does another
    one beside itself: the gateway and the checks of this machine reach the services there.

    ``localhost`` may resolve to ::1 only in WSL2 (WSL#4671), so one of the two is not enough;
    a machine without IPv6 gets the other. Raises PortInUse.
    """
    if address not in _LOOPBACKS:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        found = Listeners([_bind(family, address, port)])
        if address not in _ALL_ADDRESSES:
            try:
                found.extend(listen("127.0.0.1", found.port))
            except PortInUse:
                found.close()
                raise
        return found
    for attempt in range(_PORT_TRIES):
        first = _bind(socket.AF_INET, "127.0.0.1", port)
        found = Listeners([first])
        if not has_ipv6_loopback():
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


def has_ipv6_loopback() -> bool:
    """Whether this machine has ::1; containers and hardened hosts may have switched IPv6 off."""
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
        body_timeout_s: float = BODY_TIMEOUT_S,
        keep_alive_s: float = KEEP_ALIVE_S,
        grace_s: float = GRACE_S,
        stall_s: float = STALL_S,
        max_connections: int | None = None,
    ) -> None:
        self.listeners = listeners
        self.port = listeners.port
        self._grace_s = grace_s
        self._state = ServerState(
            app,
            head_timeout_s,
            body_timeout_s,
            keep_alive_s,
            stall_s,
            max_connections or most_connections(),
        )
        self._servers: list[asyncio.Server] = []

    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._state.connections)

    async def start(self) -> None:
        """Accept connections."""
        loop = asyncio.get_running_loop()
        for sock in self.listeners:
            self._servers.append(
                await loop.create_server(
                    lambda: Connection(self._state), sock=sock, backlog=BACKLOG
                )
            )

    async def stop(self, grace_s: float | None = None) -> None:
        """Accept no more, let answers under way end for ``grace_s``, then cut them off.

        An answer has ended when the client has it, not when the application has written it.
        """
        for server in self._servers:
            server.close()
        loop, state = asyncio.get_running_loop(), self._state
        for connection in list(state.connections):
            connection.shut_down()
        deadline = loop.time() + (self._grace_s if grace_s is None else grace_s)
        while state.connections and (rest := deadline - loop.time()) > 0:
            state.emptied.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(state.emptied.wait(), rest)
        if state.tasks and (rest := deadline - loop.time()) > 0:
            await asyncio.wait(list(state.tasks), timeout=rest)  # cleaning up after a hang-up
        late = list(state.tasks)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)
        for connection in list(state.connections):
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


def most_connections() -> int:
    """How many connections one server may hold: each may need a second descriptor upstream."""
    try:
        import resource  # noqa: PLC0415 (absent on Windows)
    except ImportError:
        return MAX_CONNECTIONS
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(8, min(MAX_CONNECTIONS, (soft - RESERVED_DESCRIPTORS) // 2))


def _raise_descriptor_limit() -> None:
    try:
        import resource  # noqa: PLC0415 (absent on Windows)
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = WANTED_DESCRIPTORS if hard == unlimited else min(hard, WANTED_DESCRIPTORS)
    if soft not in {unlimited, wanted} and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run(main: Callable[[asyncio.Event], Coroutine[Any, Any, int]]) -> int:
    """Run a service's ``main`` on uvloop; SIGTERM and SIGINT set the event that it is given."""
    try:
        import uvloop  # noqa: PLC0415 (absent on Windows)

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:
        factory = None
    _raise_descriptor_limit()
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
