"""How an upstream's answer reaches the client: headers held, bytes passed on, errors said.

Headers are held until the upstream answers, so that a 400, 404, 429 or 503 keeps its status. When
that takes long and the client asked for a stream, it gets its 200 and comments as heartbeats, and
a later error becomes an event of the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from typing import TYPE_CHECKING

from local_ai_suite.gateway import mends
from local_ai_suite.gateway.gather import EngineSaid, Unfaithful
from local_ai_suite.gateway.mends.errors import read_error
from local_ai_suite.gateway.mends.sse import EventReader
from local_ai_suite.wire.asgi import answer
from local_ai_suite.wire.upstream import HOP_BY_HOP, UpstreamError, UpstreamGarbage

if TYPE_CHECKING:
    from local_ai_suite.errors import SuiteError
    from local_ai_suite.gateway.call import Call
    from local_ai_suite.gateway.gather import Gather
    from local_ai_suite.gateway.mends import Mend, Stream
    from local_ai_suite.wire.asgi import Send
    from local_ai_suite.wire.upstream import Exchange

logger = logging.getLogger(__name__)

# What a mend raises over JSON that has not the shape it expects.
MISFIT = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
# Clients give up on a silent connection after 30 to 60 s at the least (Cline #3058, undici 300 s);
# ten seconds is long enough that almost every error still gets its status.
HOLD_S = 10.0
HEARTBEAT_S = 10.0
_COMMENT = b": waiting for the model\n\n"
# An answer that is not a stream is read whole before its head goes out: an upstream that dies in
# the middle is then a 502, not half an answer. A batch of embeddings is tens of MiB.
MAX_WHOLE = 256 * 1024 * 1024
MAX_ERROR = 4 * 1024 * 1024
# Of a stream that becomes a whole answer only the text is kept; a token is some 250 bytes of it.
MAX_GATHERED = 1024 * 1024 * 1024
_EVENT_STREAM = b"text/event-stream"
_WHOLE_TYPE = b"application/json; charset=utf-8"  # llama.cpp's
# Not passed on: what the server sets itself, and the engine's CORS (it reflects any origin).
_DROPPED = HOP_BY_HOP | {
    b"content-length",
    b"server",
    b"date",
    b"x-request-id",
    b"server-timing",
    b"access-control-allow-origin",
    b"access-control-allow-credentials",
    b"access-control-allow-methods",
    b"access-control-allow-headers",
    b"access-control-expose-headers",
    b"access-control-max-age",
    b"vary",
    b"cache-control",
    b"x-accel-buffering",
    b"x-litellm-model-api-base",  # an internal address
}
# llama.cpp's last event when it fails; inside a JSON string a quote or a line break is escaped.
_ERROR_EVENT = re.compile(rb'(?:\A|\n\n)(data: ?\{"error":|event: ?error\n)')
_UNBUFFERED = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
# Where llama.cpp (and LiteLLM) say how many tokens there were; the last ones in an answer count.
_TOKENS_IN = re.compile(rb'"(?:prompt_tokens|input_tokens|tokens_evaluated)"\s*:\s*(\d+)')
_TOKENS_OUT = re.compile(rb'"(?:completion_tokens|output_tokens|tokens_predicted)"\s*:\s*(\d+)')
# Anthropic counts what came from the cache apart.
_CACHED_IN = re.compile(rb'"cache_read_input_tokens"\s*:\s*(\d+)')
_TIMED_IN = re.compile(rb'"prompt_n"\s*:\s*(\d+)')
_TIMED_CACHED = re.compile(rb'"cache_n"\s*:\s*(\d+)')
_TIMED_OUT = re.compile(rb'"predicted_n"\s*:\s*(\d+)')
# The usage stands near the end of an answer; of a stream, the last three pieces are looked at.
_TAIL = 4096


class Heart:
    """Beats while a streaming client waits: its 200 after HOLD_S, then comments."""

    __slots__ = ("_beats", "_call", "_every_s", "_hold_s", "_stream_type", "_timer", "begun")

    def __init__(
        self, call: Call, stream_type: bytes = _EVENT_STREAM,
        hold_s: float = HOLD_S, every_s: float = HEARTBEAT_S,
    ) -> None:  # fmt: skip
        self._call = call
        self._stream_type = stream_type
        self._hold_s = hold_s
        self._every_s = every_s
        self._timer: asyncio.TimerHandle | None = None
        self._beats: asyncio.Task[None] | None = None
        self.begun = False

    def arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._hold_s, self._begin)

    def disarm(self) -> None:
        """No more beats. ``begun`` tells whether the client has got its 200."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._beats is not None:
            self._beats.cancel()
            self._beats = None

    def _begin(self) -> None:
        self._timer = None
        self._beats = asyncio.get_running_loop().create_task(self._beat())

    async def _beat(self) -> None:
        send = self._call.send
        if not self.begun:
            self.begun = True
            await _start_stream(self._call, self._stream_type, [])
        while True:
            # A protocol of JSON lines (Ollama's) has no comments: there the 200 has to do.
            if self._stream_type == _EVENT_STREAM:
                await send({"type": "http.response.body", "body": _COMMENT, "more_body": True})
            await asyncio.sleep(self._every_s)


async def pass_on(
    call: Call, exchange: Exchange, heart: Heart | None, mend: Mend | None, *,
    mend_errors: bool, gather: Gather | None = None,
) -> None:  # fmt: skip
    """Send ``exchange``'s answer (its head is there) to the client.

    With ``gather`` a stream becomes a whole answer; raises Unfaithful before anything was sent.
    """
    headers = [pair for pair in exchange.headers if pair[0] not in _DROPPED]
    content_type = next((v for n, v in headers if n == b"content-type"), b"")
    if exchange.status >= 400:
        await _refused(call, exchange, heart, mend, headers, mend_errors=mend_errors)
    elif not content_type.startswith(_EVENT_STREAM):
        body = await exchange.read_all(MAX_WHOLE)
        exchange.close()
        await _whole(call, exchange.status, body, heart, mend, headers)
    elif gather is not None:
        await _gathered(call, exchange, gather, mend, headers)
    else:
        await _streamed(call, exchange, heart, mend, headers, mend_errors=mend_errors)


async def _streamed(
    call: Call, exchange: Exchange, heart: Heart | None, mend: Mend | None,
    headers: list[tuple[bytes, bytes]], *, mend_errors: bool,
) -> None:  # fmt: skip
    call.streamed = True
    transform: Stream | None = None
    stream_type = b""
    if mend is not None and exchange.status == 200:
        transform, stream_type = mend.stream(), mend.stream_type.encode()
        headers = [pair for pair in headers if pair[0] != b"content-type"]
    # The head goes out with the first piece, and the heart beats until then.
    try:
        piece = await exchange.read()
    except UpstreamError as exc:
        if heart is None or not heart.begun:
            raise
        heart.disarm()
        await _fail(call, transform, exc)
        return
    if heart is not None:
        heart.disarm()
    if heart is None or not heart.begun:
        await _start_stream(call, stream_type, headers)
    try:
        await _pieces(call, exchange, transform, piece, mend_errors=mend_errors)
    except UpstreamError as exc:
        await _fail(call, transform, exc)
    except MISFIT as exc:
        logger.warning("answer %s has not the shape it should", call.request_id, exc_info=True)
        await _fail(call, None, _misfit(exc))


async def _pieces(
    call: Call, exchange: Exchange, transform: Stream | None, piece: bytes, *, mend_errors: bool
) -> None:
    send = call.send
    before = last = b""
    while True:
        if mend_errors and b"error" in piece and (found := _ERROR_EVENT.search(piece)):
            await _ends_in_error(call, exchange, transform, piece, found.start(1))
            return
        first, before, last = before, last, piece
        made = transform.feed(piece) if transform is not None else piece
        if exchange.at_end:
            break
        if made:
            await send({"type": "http.response.body", "body": made, "more_body": True})
        piece = await exchange.read()
    if transform is not None:
        made += transform.finish()
    count_tokens(call, first + before + last)
    exchange.close()  # the connection is free before the client has read the end
    await send({"type": "http.response.body", "body": made})


async def _ends_in_error(
    call: Call, exchange: Exchange, transform: Stream | None, piece: bytes, at: int
) -> None:
    """The engine's error, from ``at`` in ``piece`` on, as the event of the API that was called."""
    before, said = piece[:at], piece[at:]
    with contextlib.suppress(UpstreamError):  # what came is enough
        while not exchange.at_end and len(said) < MAX_ERROR:
            said += await exchange.read()
    exchange.close()
    error = read_error(500, (EventReader().feed(said + b"\n\n") or [b""])[0])
    call.error = str(error.get("code") or "upstream error")
    made = transform.feed(before) if transform and before else before
    made += transform.fail(error) if transform else mends.fail_event(call.route, error)
    await call.send({"type": "http.response.body", "body": made})


async def _start_stream(
    call: Call, content_type: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    call.status = call.status or 200
    head = [*headers, *_UNBUFFERED, *call.headers, call.timing(total=False)]
    if content_type:
        head.append((b"content-type", content_type))
    if call.context_limit is not None:
        head.append((b"x-context-limit", b"%d" % call.context_limit))
    await call.send({"type": "http.response.start", "status": call.status, "headers": head})


async def _gathered(
    call: Call, exchange: Exchange, gather: Gather, mend: Mend | None,
    headers: list[tuple[bytes, bytes]],
) -> None:  # fmt: skip
    headers = [pair for pair in headers if pair[0] != b"content-type"]
    headers.append((b"content-type", _WHOLE_TYPE))
    gathered, size = gather.begin(), 0
    try:
        while not exchange.at_end:
            piece = await exchange.read()
            size += len(piece)
            if size > MAX_GATHERED:
                raise UpstreamGarbage(f"The answer is larger than {MAX_GATHERED} bytes.")
            gathered.feed(piece)
        body = gathered.whole()
    except EngineSaid as said:
        await _error(call, said.status, said.body, None, mend, headers, mend_errors=True)
    except MISFIT as exc:
        raise Unfaithful(f"{type(exc).__name__}: {exc}"[:200]) from exc
    else:
        exchange.close()
        await _whole(call, 200, body, None, mend, headers)


async def _whole(
    call: Call, status: int, body: bytes, heart: Heart | None, mend: Mend | None,
    headers: list[tuple[bytes, bytes]],
) -> None:  # fmt: skip
    count_tokens(call, body[-_TAIL:])
    if mend is not None:
        try:
            body = mend.answer(body)
        except MISFIT as exc:
            raise _misfit(exc) from exc
    if heart is not None:
        heart.disarm()
        if heart.begun:
            # It was told "stream", and the upstream answered with one object: pass it as an event.
            await call.send({"type": "http.response.body", "body": b"data: " + body + b"\n\n"})
            return
    await whole_answer(call, status, body, headers)


async def whole_answer(
    call: Call, status: int, body: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    """Send ``body``, with what the gateway knows in the headers."""
    call.status = status
    head = [
        *headers,
        (b"content-length", b"%d" % len(body)),
        *call.headers,
        call.timing(total=True),
    ]
    if call.context_limit is not None:
        head.append((b"x-context-limit", b"%d" % call.context_limit))
        if call.tokens_in is not None:
            used = call.tokens_in + (call.tokens_out or 0)
            head.append((b"x-context-used", b"%d" % used))
    await call.send({"type": "http.response.start", "status": status, "headers": head})
    await call.send({"type": "http.response.body", "body": body})


async def _refused(
    call: Call, exchange: Exchange, heart: Heart | None, mend: Mend | None,
    headers: list[tuple[bytes, bytes]], *, mend_errors: bool,
) -> None:  # fmt: skip
    body = await exchange.read_all(MAX_ERROR)
    exchange.close()
    await _error(call, exchange.status, body, heart, mend, headers, mend_errors=mend_errors)


async def _error(
    call: Call, status: int, body: bytes, heart: Heart | None, mend: Mend | None,
    headers: list[tuple[bytes, bytes]], *, mend_errors: bool,
) -> None:  # fmt: skip
    call.error = f"upstream {status}"
    if heart is not None:
        heart.disarm()
    if mend_errors:
        status, body = mends.mend_error(call.route, status, body)
        headers = [pair for pair in headers if pair[0] != b"content-type"]
        headers.append((b"content-type", b"application/json"))
    elif b'"error"' not in body:  # LiteLLM's framework says {"detail": ...}
        status, body = mends.mend_error(call.path, status, body)
    if heart is not None and heart.begun:
        error = read_error(status, body)
        event = mend.stream().fail(error) if mend else mends.fail_event(call.route, error)
        await call.send({"type": "http.response.body", "body": event})
        return
    await whole_answer(call, status, body, headers)


async def _fail(call: Call, transform: Stream | None, error: SuiteError) -> None:
    call.error = error.code
    said = inner_error(error)
    event = transform.fail(said) if transform else mends.fail_event(call.route, said)
    await call.send({"type": "http.response.body", "body": event})


def _misfit(error: Exception) -> UpstreamGarbage:
    shown = f"{type(error).__name__}: {error}"[:200]
    return UpstreamGarbage(f"The engine's answer has not the shape it should ({shown}).")


async def fail_late(call: Call, error: SuiteError) -> None:
    """Say ``error`` inside a stream of which only the heart has spoken."""
    await _fail(call, None, error)


def inner_error(error: SuiteError) -> dict[str, object]:
    """OpenAI's inner object for one of our errors."""
    message = f"{error.message} {error.hint}".strip()
    return {"message": message, "type": "server_error", "param": None, "code": error.code}


async def plain_answer(send: Send, status: int, body: bytes, call: Call) -> None:
    """An answer of the gateway's own."""
    call.status = status
    await answer(send, status, body, headers=call.headers)


def count_tokens(call: Call, tail: bytes) -> None:
    """Read the token counts out of an answer's end, where it says them."""
    if found := _TOKENS_IN.findall(tail):
        cached = _CACHED_IN.findall(tail)
        call.tokens_in = int(found[-1]) + (int(cached[-1]) if cached else 0)
    elif found := _TIMED_IN.findall(tail):
        cached = _TIMED_CACHED.findall(tail)
        call.tokens_in = int(found[-1]) + (int(cached[-1]) if cached else 0)
    if found := _TOKENS_OUT.findall(tail) or _TIMED_OUT.findall(tail):
        call.tokens_out = int(found[-1])


def mark_first_byte(call: Call) -> None:
    call.first_byte = time.perf_counter()
