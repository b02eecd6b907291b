"""One model call: its request to an upstream, and the answer to the client.

Headers are held until the upstream answers, so that a 400, 404, 429 or 503 keeps its status. When
that takes long and the client asked for a stream, it gets its 200 and comments as heartbeats, and
a later error becomes an event of the stream.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from typing import TYPE_CHECKING, Any

import orjson

from local_ai_suite.errors import SuiteError
from local_ai_suite.gateway.heartbeat import COMMENT, Heartbeat
from local_ai_suite.gateway.protocols import EVENT_STREAM, MISFIT
from local_ai_suite.gateway.protocols.conversation import fit
from local_ai_suite.gateway.protocols.errors import engine_error, read_error
from local_ai_suite.gateway.protocols.events import EventReader
from local_ai_suite.gateway.protocols.gather import (
    AskWhole,
    EngineSaid,
    Gathered,
    as_stream,
    carries,
)
from local_ai_suite.wire.envelope import suite_error
from local_ai_suite.wire.upstream import UpstreamError, UpstreamGarbage, forwardable

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from local_ai_suite.gateway.call import Call
    from local_ai_suite.gateway.heartbeat import Pace
    from local_ai_suite.gateway.protocols import Asked
    from local_ai_suite.gateway.protocols.conversation import Template
    from local_ai_suite.gateway.protocols.events import Stream
    from local_ai_suite.wire import upstream as wire
    from local_ai_suite.wire.asgi import Headers
    from local_ai_suite.wire.envelope import Error

    Pairs = list[tuple[bytes, bytes]]

logger = logging.getLogger(__name__)

# An answer that is not a stream is read whole before its head goes out: an upstream that dies in
# the middle is then a 502, not half an answer. A batch of embeddings is tens of MiB.
MAX_WHOLE = 256 * 1024 * 1024
MAX_ERROR = 4 * 1024 * 1024
# Of a stream that becomes a whole answer only the text is kept; a token is some 250 bytes of it.
MAX_GATHERED = 1024 * 1024 * 1024
# Proxies cut or refuse headers of some KB.
MAX_TOLD = 1024
_WHOLE_TYPE = (b"content-type", b"application/json; charset=utf-8")  # llama.cpp's
_ERROR_TYPE = (b"content-type", b"application/json")
# Of the client's headers these stay here: what belongs to the connection, what the guard has
# checked, and what names the client's own key.
_KEPT_BACK = frozenset({
    b"host", b"content-length", b"expect", b"origin", b"referer", b"cookie", b"authorization",
    b"x-api-key", b"x-litellm-api-key", b"api-key", b"accept-encoding", b"x-request-id",
    b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto",
})  # fmt: skip
# Not passed on: what the server sets itself, and the engine's CORS (it reflects any origin).
_DROPPED = frozenset({
    b"content-length", b"server", b"date", b"x-request-id", b"server-timing",
    b"access-control-allow-origin", b"access-control-allow-credentials",
    b"access-control-allow-methods", b"access-control-allow-headers",
    b"access-control-expose-headers", b"access-control-max-age", b"vary", b"cache-control",
    b"x-accel-buffering",
    b"x-litellm-model-api-base",  # an internal address
})  # fmt: skip
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
_COUNTED = ("usage", "timings", "tokens_evaluated", "tokens_predicted")
# The usage stands near the end of an answer; of a stream, the last three pieces are looked at.
_TAIL = 4096


class Exchange:
    """Owns a call while an upstream answers it.

    ``local`` is the engine: its errors are put in the caller's envelope, and its whole answers
    together from streams. LiteLLM answers in the caller's protocol itself, so with it this is done
    only where the gateway has translated the request.
    """

    def __init__(
        self, call: Call, asked: Asked, headers: Headers, pace: Pace, *, local: bool,
        target: str | None = None,
        template: Template | None = None,
    ) -> None:  # fmt: skip
        self._call = call
        self._asked = asked
        self._headers = headers
        self._local = local
        self._ours = local or asked.translated
        self._target = target or asked.path
        self._template = template
        self._heartbeat: Heartbeat | None = None
        if asked.streams:
            # A protocol of JSON lines (Ollama's) has no comments: there the 200 has to do.
            comments = asked.endpoint.stream_type == EVENT_STREAM
            self._heartbeat = Heartbeat(pace, self._begin_late, self._beat if comments else None)

    async def run(self, place: AbstractAsyncContextManager[tuple[wire.Upstream, str]]) -> None:
        """Answer the call by the upstream that ``place`` gives, with the path before its routes.

        Raises SuiteError while nothing was sent yet.
        """
        heartbeat = self._heartbeat
        if heartbeat is None:
            await self._ask(place)
            return
        heartbeat.start()
        try:
            await self._ask(place)
        except SuiteError as exc:
            if not heartbeat.begun:
                raise
            heartbeat.stop()
            await self._fail(None, exc)
        finally:
            heartbeat.stop()

    # To the upstream

    async def _ask(self, place: AbstractAsyncContextManager[tuple[wire.Upstream, str]]) -> None:
        asked = self._asked
        # Here, because the heart beats already: who asks first may wait until the model is loaded.
        if self._template is not None and (changes := await fit(asked, self._template)):
            self._call.headers.append((b"x-lais-translated", ", ".join(changes).encode()))
        if asked.not_enforced:
            self._call.headers.append((b"x-lais-not-enforced", _told(asked.not_enforced)))
        body = asked.body()
        async with place as (upstream, prefix):
            self._call.admitted = time.perf_counter()
            target = prefix + self._target
            form = asked.form() if self._local and asked.form is not None else None
            if form is not None and carries(form, asked.request):
                try:
                    await self._exchange(upstream, target, as_stream(body), Gathered(form))
                except AskWhole as exc:
                    logger.info("request %s is asked again, whole: %s", self._call.request_id, exc)
                else:
                    return
            await self._exchange(upstream, target, body, None)

    async def _exchange(
        self, upstream: wire.Upstream, target: str, body: bytes, gathered: Gathered | None
    ) -> None:
        call = self._call
        # HEAD's answer has a length without a body; our own server leaves the body of a GET away.
        method = "GET" if call.method == "HEAD" else call.method
        reply = await upstream.start(method, target, self._headers, body)
        try:
            call.connected = time.perf_counter()
            await reply.head()
            call.first_byte = time.perf_counter()
            await self._pass_on(reply, gathered)
        finally:
            reply.close()

    # To the client

    async def _pass_on(self, reply: wire.Exchange, gathered: Gathered | None) -> None:
        headers = forwardable(reply.headers, _DROPPED)
        content_type = next((v for n, v in headers if n == b"content-type"), b"")
        if reply.status >= 400:
            body = await reply.read_all(MAX_ERROR)
            reply.close()
            await self._error(reply.status, body, headers)
        elif not content_type.startswith(EVENT_STREAM):
            body = await reply.read_all(MAX_WHOLE)
            reply.close()
            _count_tokens(self._call, body[-_TAIL:])
            try:
                body = self._asked.answer(body) if self._ours else body
            except MISFIT as exc:
                raise _misfit(exc) from exc
            await self._whole(reply.status, body, headers)
        elif gathered is not None:
            await self._gather(reply, gathered, headers)
        else:
            await self._stream(reply, headers)

    async def _stream(self, reply: wire.Exchange, headers: Pairs) -> None:
        call, heartbeat = self._call, self._heartbeat
        call.streamed = True
        translated = self._asked.stream() if self._ours and reply.status == 200 else None
        # The head goes out with the first piece, and the heart beats until then.
        try:
            piece = await reply.read()
        except UpstreamError as exc:
            if heartbeat is None or not heartbeat.begun:
                raise
            heartbeat.stop()
            await self._fail(translated, exc)
            return
        if heartbeat is not None:
            heartbeat.stop()
        if heartbeat is None or not heartbeat.begun:
            if translated is not None:
                headers = _typed(headers, self._asked.endpoint.stream_type)
            await self._begin(headers)
        try:
            await self._pieces(reply, translated, piece)
        except UpstreamError as exc:
            await self._fail(translated, exc)
        except MISFIT as exc:
            logger.warning("answer %s has not the shape it should", call.request_id, exc_info=True)
            await self._fail(None, _misfit(exc))

    async def _pieces(self, reply: wire.Exchange, translated: Stream | None, piece: bytes) -> None:
        send, looks = self._call.send, self._ours
        before = last = b""
        while True:
            if looks and b"error" in piece and (found := _ERROR_EVENT.search(piece)):
                await self._ends_in_error(reply, translated, piece, found.start(1))
                return
            first, before, last = before, last, piece
            made = translated.feed(piece) if translated is not None else piece
            if reply.at_end:
                break
            if made:
                await send({"type": "http.response.body", "body": made, "more_body": True})
            piece = await reply.read()
        if translated is not None:
            made += translated.finish()
        _count_tokens(self._call, first + before + last)
        reply.close()  # the connection is free before the client has read the end
        await send({"type": "http.response.body", "body": made})

    async def _ends_in_error(
        self, reply: wire.Exchange, translated: Stream | None, piece: bytes, at: int
    ) -> None:
        """The engine's error, from ``at`` in ``piece`` on, as the event of the caller's API."""
        before, said = piece[:at], piece[at:]
        with contextlib.suppress(UpstreamError):  # what came is enough
            while not reply.at_end and len(said) < MAX_ERROR:
                said += await reply.read()
        reply.close()
        error = read_error(500, (EventReader().feed(said + b"\n\n") or [b""])[0])
        self._call.error = str(error.get("code") or "upstream error")
        made = translated.feed(before) if translated and before else before
        await self._last(made + self._late(translated, error))

    async def _gather(self, reply: wire.Exchange, gathered: Gathered, headers: Pairs) -> None:
        size = 0
        try:
            while not reply.at_end:
                piece = await reply.read()
                size += len(piece)
                if size > MAX_GATHERED:
                    raise UpstreamGarbage(f"The answer is larger than {MAX_GATHERED} bytes.")
                gathered.feed(piece)
            said = gathered.whole()
        except EngineSaid as error:
            await self._error(error.status, error.body, headers)
            return
        except MISFIT as exc:
            raise AskWhole(f"{type(exc).__name__}: {exc}"[:200]) from exc
        reply.close()
        try:
            _count_tokens(self._call, _counts_in(said))
            body = self._asked.finished(said)
        except MISFIT as exc:
            raise _misfit(exc) from exc
        await self._whole(200, body, [*_untyped(headers), _WHOLE_TYPE])

    async def _error(self, status: int, body: bytes, headers: Pairs) -> None:
        """The upstream's error, in the envelope of the API that was called."""
        self._call.error = f"upstream {status}"
        envelope, model = self._asked.endpoint.envelope, self._asked.target.public
        if self._heartbeat is not None:
            self._heartbeat.stop()
            if self._heartbeat.begun:
                await self._last(envelope.event(engine_error(status, body, model)[1]))
                return
        if self._ours or b'"error"' not in body:  # LiteLLM's framework says {"detail": ...}
            status, error = engine_error(status, body, model)
            body = envelope.body(status, error)
            headers = [*_untyped(headers), _ERROR_TYPE]
        await self._whole(status, body, headers)

    async def _whole(self, status: int, body: bytes, headers: Pairs) -> None:
        call = self._call
        if self._heartbeat is not None:
            self._heartbeat.stop()
            if self._heartbeat.begun:
                # It was told "stream", and the upstream answered with one object.
                await self._last(b"data: " + body + b"\n\n")
                return
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
        await self._last(body)

    async def _begin(self, headers: Pairs) -> None:
        """Start a stream."""
        call = self._call
        call.status = 200
        head = [*headers, *_UNBUFFERED, *call.headers, call.timing(total=False)]
        if call.context_limit is not None:
            head.append((b"x-context-limit", b"%d" % call.context_limit))
        await call.send({"type": "http.response.start", "status": 200, "headers": head})

    async def _begin_late(self) -> None:
        await self._begin([(b"content-type", self._asked.endpoint.stream_type)])

    async def _beat(self) -> None:
        await self._call.send({"type": "http.response.body", "body": COMMENT, "more_body": True})

    async def _fail(self, translated: Stream | None, error: SuiteError) -> None:
        """Say ``error`` inside a stream that has begun."""
        self._call.error = error.code
        await self._last(self._late(translated, suite_error(error)))

    def _late(self, translated: Stream | None, error: Error) -> bytes:
        made = translated.fail(error) if translated is not None else None
        return self._asked.endpoint.envelope.event(error) if made is None else made

    async def _last(self, body: bytes) -> None:
        await self._call.send({"type": "http.response.body", "body": body})


def forwarded(call: Call, api_key: str | None, headers: Headers) -> Pairs:
    """The client's headers for the upstream, with the upstream's own key."""
    sent = forwardable(headers, _KEPT_BACK)
    sent.append((b"x-request-id", call.request_id.encode("ascii")))
    if api_key:
        sent.append((b"authorization", b"Bearer " + api_key.encode()))
    return sent


def _told(paths: list[str]) -> bytes:
    """A header's value: what a schema's author named may be any text."""
    text = ", ".join(paths).encode("ascii", "backslashreplace")
    return bytes(byte if 0x20 <= byte < 0x7F else 0x3F for byte in text)[:MAX_TOLD]


def _untyped(headers: Pairs) -> Pairs:
    return [pair for pair in headers if pair[0] != b"content-type"]


def _typed(headers: Pairs, content_type: bytes) -> Pairs:
    return [*_untyped(headers), (b"content-type", content_type)]


def _misfit(error: Exception) -> UpstreamGarbage:
    shown = f"{type(error).__name__}: {error}"[:200]
    return UpstreamGarbage(f"The engine's answer has not the shape it should ({shown}).")


def _counts_in(said: Any) -> bytes:
    """What tells tokens in a whole answer of llama.cpp, as JSON."""
    last = said[-1] if isinstance(said, list) else said
    return orjson.dumps([{name: last[name]} for name in _COUNTED if name in last])


def _count_tokens(call: Call, tail: bytes) -> None:
    """Read the token counts out of an answer's end, where it says them."""
    if found := _TOKENS_IN.findall(tail):
        cached = _CACHED_IN.findall(tail)
        call.tokens_in = int(found[-1]) + (int(cached[-1]) if cached else 0)
    elif found := _TIMED_IN.findall(tail):
        cached = _TIMED_CACHED.findall(tail)
        call.tokens_in = int(found[-1]) + (int(cached[-1]) if cached else 0)
    if found := _TOKENS_OUT.findall(tail) or _TIMED_OUT.findall(tail):
        call.tokens_out = int(found[-1])
