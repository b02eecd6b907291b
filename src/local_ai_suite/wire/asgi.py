"""The ASGI vocabulary, and how a whole body is read and a whole answer sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from local_ai_suite.errors import SuiteError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

JSON = b"application/json"
# A body on loopback comes in milliseconds; a minute covers a slow link and a 64 MiB picture, and
# ends a client that sends one byte at a time (slow loris).
BODY_TIMEOUT_S = 60.0
# How much of a refused body is read and thrown away, so that a client that is still sending gets
# to read the answer instead of a reset connection.
_DRAINED_BYTES = 8 * 1024 * 1024
_DRAIN_TIMEOUT_S = 2.0
# Of bodies that are still arriving, on all connections together, at least so much is kept: a
# thousand clients that stop just short of MAX_REQUEST_MIB must not take the machine's memory.
ARRIVING_BYTES = 512 * 1024 * 1024


class BodyError(SuiteError):
    """A request's body could not be read."""

    code = "bad_request"
    http_status = 400


class BodyTooLarge(BodyError):
    code = "request_too_large"
    http_status = 413


class BodyTooSlow(BodyError):
    code = "request_timeout"
    http_status = 408


class BodiesTooMany(BodyError):
    """So much is arriving on other connections that there is no memory for one more."""

    code = "too_many_uploads"
    http_status = 503


class BodyCompressed(BodyError):
    code = "unsupported_encoding"
    http_status = 415


class ClientGone(BodyError):
    """The client hung up before its body was complete; there is nobody to answer."""

    code = "client_closed_request"
    http_status = 499


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first header called ``name`` (lower case), or ``None``."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


async def read_body(
    scope: Scope, receive: Receive, *, limit: int, timeout_s: float = BODY_TIMEOUT_S
) -> bytes:
    """The whole body, at most ``limit`` bytes, within ``timeout_s`` seconds.

    Raises BodyTooLarge (before reading, where Content-Length tells), BodyTooSlow, BodiesTooMany,
    ClientGone.
    A compressed body is refused (415): nothing here inflates, so a gzip bomb stays a small file.
    """
    announced = _check_headers(scope, limit)
    if announced is not None and announced > limit:
        if header(scope, b"expect") is None:  # who waits for a 100 need not send it for nothing
            await _drain(receive)
        raise _too_large(limit)
    message = await _first(receive, timeout_s) if announced else await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone("The client hung up.")
    body = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= limit:
        return bytes(body)
    return await _read_rest(bytearray(body), receive, limit, timeout_s)


async def _first(receive: Receive, timeout_s: float) -> Message:
    # Usually the body came in the same packet as the headers: no timer for that.
    try:
        async with asyncio.timeout(timeout_s):
            return await receive()
    except TimeoutError as exc:
        raise _too_slow(timeout_s) from exc


async def _read_rest(body: bytearray, receive: Receive, limit: int, timeout_s: float) -> bytes:
    _Arriving.total += len(body)
    try:
        async with asyncio.timeout(timeout_s):
            more = True
            while more:
                if len(body) > limit:
                    break
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone("The client hung up.")
                piece = message.get("body", b"")
                body += piece
                _Arriving.total += len(piece)
                more = message.get("more_body", False)
                if more and _Arriving.total > max(ARRIVING_BYTES, 2 * limit):
                    raise BodiesTooMany(
                        "Too much is being sent to this server at once.",
                        hint="Try again in a moment.",
                        retry_after=1,
                    )
    except TimeoutError as exc:
        raise _too_slow(timeout_s) from exc
    finally:
        _Arriving.total -= len(body)
    if len(body) > limit:
        if more:
            await _drain(receive)
        raise _too_large(limit)
    return bytes(body)


class _Arriving:
    """Bytes of bodies whose end has not come; a process serves one port, on one event loop."""

    total = 0


async def _drain(receive: Receive) -> None:
    seen = 0
    try:
        async with asyncio.timeout(_DRAIN_TIMEOUT_S):
            while seen < _DRAINED_BYTES:
                message = await receive()
                seen += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def _check_headers(scope: Scope, limit: int) -> int | None:
    announced = None
    for name, value in scope["headers"]:
        if name == b"content-length":
            announced = int(value) if value.isdigit() and len(value) < 20 else limit + 1
        elif name == b"transfer-encoding":
            announced = announced or 1
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise BodyCompressed(
                "The request's body is compressed.", hint="Send it without Content-Encoding."
            )
    return announced


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"The request is larger than the {limit // (1024 * 1024)} MiB that are allowed.",
        hint="Send less, or raise MAX_REQUEST_MIB in .env.",
    )


def _too_slow(timeout_s: float) -> BodyTooSlow:
    return BodyTooSlow(f"The request's body did not arrive within {timeout_s:g} s.")


async def answer(
    send: Send,
    status: int,
    body: bytes,
    *,
    headers: Headers = (),
    content_type: bytes = JSON,
) -> None:
    """Send one whole answer."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", content_type),
                (b"content-length", b"%d" % len(body)),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
