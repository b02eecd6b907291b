"""One HTTP/1.1 exchange per call over ``http.client``, with bounded waits.

No proxy is used: the server is this machine's, and a proxy in the environment must not see prompts.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from local_ai_suite.errors import BadAnswer, UsageError
from local_ai_suite.messages import tr

from . import failures

if TYPE_CHECKING:
    from collections.abc import Iterator

# A loopback connection is made in microseconds; a WSL2 that wakes up takes a few seconds.
CONNECT_TIMEOUT = 5.0
# `/v1/models` and `/health` are answered from memory.
QUICK_TIMEOUT = 10.0
# Before the first byte: the model may have to load (LOAD_TIMEOUT is 600 s by default) behind
# another one that is drained, and then read a long prompt on a CPU.
FIRST_BYTE_TIMEOUT = 1800.0
# Between two pieces of a stream: a model that pages from disk writes a token in seconds.
STALL_TIMEOUT = 180.0
# One server-sent event; a larger one is not an answer of a language model.
LONGEST_LINE = 32 * 1024 * 1024
LONGEST_BODY = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; see the constants above for the reasons."""

    connect: float = CONNECT_TIMEOUT
    quick: float = QUICK_TIMEOUT
    first_byte: float = FIRST_BYTE_TIMEOUT
    stall: float = STALL_TIMEOUT


class Exchange:
    """A request that was sent and its response, until closed.

    ``close`` may be called from another thread or a signal handler: it shuts the socket down, the
    blocked read ends, and the reader, whose objects these are, closes them.
    """

    def __init__(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, url: str
    ) -> None:
        self._connection = connection
        # http.client forgets the socket when the server says `Connection: close`.
        self._socket: socket.socket | None = connection.sock
        self._response = response
        self.url = url
        self.status = response.status
        self.closed = False
        self._reading = False

    def read(self, wait: float) -> bytes:
        with self._mapped(wait):
            body = self._response.read(LONGEST_BODY + 1)
        if len(body) > LONGEST_BODY:
            raise BadAnswer(
                tr(
                    "{url} answered with more than {size} MiB",
                    url=self.url,
                    size=LONGEST_BODY >> 20,
                )
            )
        if self._response.length:  # http.client reads a body that is too short without a word
            raise failures.broke_off(self.url)
        return body

    def events(self, first: float, stall: float) -> Iterator[bytes]:
        """The payloads of the server-sent events (``data:`` lines) until the end of the body.

        Waits ``first`` seconds for the first line (a prompt is read), then ``stall`` for each.
        """
        wait = first
        while True:
            with self._mapped(wait):
                line = self._response.readline(LONGEST_LINE)
            if wait != stall and self._socket is not None and not self.closed:
                self._socket.settimeout(wait := stall)
            if not line:
                return
            if len(line) >= LONGEST_LINE:
                raise BadAnswer(
                    tr(
                        "{url} sent an event of over {size} MiB",
                        url=self.url,
                        size=LONGEST_LINE >> 20,
                    )
                )
            # Also "error:", which llama.cpp wrote before it sent errors as data.
            name, colon, value = line.partition(b":")
            if colon and name in {b"data", b"error"}:
                yield value.strip()

    @contextlib.contextmanager
    def _mapped(self, seconds: float) -> Iterator[None]:
        self._reading = True
        try:
            yield
        except TimeoutError as exc:
            raise failures.timed_out(self.url, seconds) from exc
        except (OSError, http.client.HTTPException, ValueError) as exc:
            # ValueError: reading on after a close.
            raise failures.broke_off(self.url) from exc
        finally:
            self._reading = False

    def close(self) -> None:
        self.closed = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        if self._reading:
            return
        with contextlib.suppress(OSError):
            self._response.close()
        self._connection.close()


@dataclass(frozen=True, slots=True)
class Address:
    """Where the API is: ``base_url`` ends in ``/v1``; ``root`` is the same without it."""

    host: str
    port: int
    secure: bool
    prefix: str

    @classmethod
    def parse(cls, base_url: str) -> Address:
        """The parts of ``http://host:port/prefix``. Raises UsageError for anything else."""
        try:
            parts = urlsplit(base_url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as exc:
            raise UsageError(
                tr("{base_url!r} is not an address: {exc}", base_url=base_url, exc=exc)
            ) from exc
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(
                tr("{base_url!r} is not an address of a server", base_url=base_url),
                hint=tr("Write it as http://127.0.0.1:8000/v1."),
            )
        prefix = parts.path.rstrip("/").removesuffix("/v1")
        return cls(parts.hostname, port, parts.scheme == "https", prefix)

    @property
    def root(self) -> str:
        """``http://host:port/prefix``, without ``/v1`` and without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}{self.prefix}"


class Transport:
    """Sends requests to one address with one key. The key is never part of an error."""

    def __init__(self, address: Address, key: str | None, timeouts: Timeouts) -> None:
        self._address = address
        self._key = key
        self._timeouts = timeouts

    def send(self, method: str, path: str, body: Any = None, *, wait: float) -> Exchange:
        """Send and wait at most ``wait`` seconds for the status line."""
        address, url = self._address, self._address.root + path
        kind = http.client.HTTPSConnection if address.secure else http.client.HTTPConnection
        connection = kind(address.host, address.port, timeout=self._timeouts.connect)
        headers = {"Accept": "application/json, text/event-stream", "User-Agent": "lais"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        payload = None
        if body is not None:
            payload = _encode(body)
            headers["Content-Type"] = "application/json"
        try:
            connection.connect()
        except OSError as exc:
            connection.close()
            raise failures.unreachable(address.root, exc) from exc
        try:
            connection.sock.settimeout(wait)
            # A stream's small pieces must not wait for acknowledgements.
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock = connection.sock
            connection.request(method, address.prefix + path, payload, headers)
            response = connection.getresponse()
        except BaseException as exc:
            connection.close()
            if isinstance(exc, TimeoutError):
                raise failures.timed_out(url, wait) from exc
            if isinstance(exc, http.client.BadStatusLine) and not isinstance(
                exc, http.client.RemoteDisconnected
            ):
                raise failures.not_an_api(url, str(exc)) from exc
            if isinstance(exc, OSError | http.client.HTTPException):
                raise failures.broke_off(url) from exc
            raise
        connection.sock = sock  # http.client drops it on `Connection: close`
        return Exchange(connection, response, url)

    def json(
        self, method: str, path: str, body: Any = None, *, wait: float, model: str | None = None
    ) -> dict[str, Any]:
        """The parsed answer, an object. Raises for every status of 400 and above."""
        exchange = self.send(method, path, body, wait=wait)
        try:
            return self.checked(exchange, model, wait=wait)
        finally:
            exchange.close()

    def checked(self, exchange: Exchange, model: str | None, *, wait: float) -> dict[str, Any]:
        """The answer as a JSON object, waited for ``wait`` seconds at most. Raises RequestRefused
        for an error's status, BadAnswer for what is no object."""
        raw = exchange.read(wait)
        try:
            parsed = orjson.loads(raw)
        except orjson.JSONDecodeError:
            parsed = raw.decode("utf-8", "replace")
        if exchange.status >= 400:
            raise failures.refusal(exchange.status, parsed, exchange.url, model)
        if not isinstance(parsed, dict):
            raise failures.not_an_api(exchange.url, str(parsed))
        if parsed.get("error"):
            raise failures.refusal(exchange.status, parsed, exchange.url, model)
        return parsed


def _encode(body: Any) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError as exc:
        raise UsageError(
            tr("the request cannot be written as JSON: {exc}", exc=exc),
            hint=tr("Text must be valid UTF-8."),
        ) from exc
