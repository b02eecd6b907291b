"""httpx's transport with the protocols in it: what the exchange does, in thirty lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import orjson

from local_ai_suite.gateway.protocols import ENDPOINTS, Asked, Request, Target, ask
from local_ai_suite.gateway.protocols.errors import Refused, engine_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local_ai_suite.gateway.protocols.events import Stream

SAME = Target("local-chat", "local-chat")
OTHER = Target("gpt-4o", "local-chat")
_CUT = 7
"""Upstream chunks are cut to this many bytes, so that every translation meets every cut."""


def asked(route: str, body: bytes, target: Target = SAME) -> Asked:
    """A request as it goes to the engine."""
    return ask(ENDPOINTS, ENDPOINTS[route], Request.read(body), target)


def is_untouched(found: Asked, body: bytes) -> bool:
    """Whether the request goes out as it came, and the answer comes back so."""
    return found.body() is body and not found.translated and found.stream() is None


def error_of(route: str, status: int, body: bytes) -> tuple[int, bytes]:
    """What a client of ``route`` gets for an error of the engine."""
    status, error = engine_error(status, body, "local-chat")
    return status, ENDPOINTS[route].envelope.body(status, error)


class TranslatingTransport(httpx.BaseTransport):
    """Translates each request, and what comes back."""

    def __init__(self, engine_names: Mapping[str, str]) -> None:
        self._names = engine_names
        self._upstream = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        route, body = request.url.path, request.read()
        if request.method != "POST":
            return self._upstream.handle_request(request)
        name = orjson.loads(body).get("model", "local-chat").removesuffix(":latest")
        endpoint = ENDPOINTS[route]
        try:
            found = asked(route, body, Target(public=name, engine=self._names.get(name, name)))
        except Refused as refused:
            return _json(400, endpoint.envelope.body(400, refused.error))
        if found.reply is not None:
            return _json(200, found.reply)
        answer = self._upstream.handle_request(
            httpx.Request("POST", request.url.copy_with(path=found.path), content=found.body())
        )
        if answer.status_code >= 400:
            return _json(*error_of(route, answer.status_code, answer.read()))
        if not answer.headers["content-type"].startswith("text/event-stream"):
            return _json(200, found.answer(answer.read()))
        if (stream := found.stream()) is None:
            return answer
        headers = {"content-type": endpoint.stream_type.decode()}
        return httpx.Response(200, headers=headers, stream=_Translated(answer, stream))

    def close(self) -> None:
        self._upstream.close()


class _Translated(httpx.SyncByteStream):
    """The upstream's stream, translated; closed with the client's, whether read or not."""

    def __init__(self, upstream: httpx.Response, stream: Stream) -> None:
        self._upstream = upstream
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._upstream.iter_raw():
            for start in range(0, len(chunk), _CUT):
                yield self._stream.feed(chunk[start : start + _CUT])
        yield self._stream.finish()

    def close(self) -> None:
        self._upstream.close()


def _json(status: int, body: bytes) -> httpx.Response:
    return httpx.Response(status, headers={"content-type": "application/json"}, content=body)
