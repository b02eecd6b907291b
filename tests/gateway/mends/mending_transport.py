"""httpx's transport with the mends in it: what the relay does, in thirty lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import orjson

from local_ai_suite.gateway import mends

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CUT = 7
"""Upstream chunks are cut to this many bytes, so that every transform meets every cut."""


class MendingTransport(httpx.BaseTransport):
    """Plans each request, sends what the plan says, mends what comes back."""

    def __init__(self, engine_names: Mapping[str, str]) -> None:
        self._names = engine_names
        self._upstream = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        route, body = request.url.path, request.read()
        if request.method != "POST":
            return self._upstream.handle_request(request)
        name = orjson.loads(body).get("model", "local-chat").removesuffix(":latest")
        target = mends.Target(public=name, engine=self._names.get(name, name))
        plan = mends.plan(route, body, target)
        if isinstance(plan, mends.Reply):
            return _json(plan.status, plan.body)
        path, sent = (plan.path, plan.body) if plan else (route, body)
        answer = self._upstream.handle_request(
            httpx.Request("POST", request.url.copy_with(path=path), content=sent)
        )
        if answer.status_code >= 400:
            return _json(*mends.mend_error(route, answer.status_code, answer.read()))
        if plan is None:
            return answer
        if answer.headers["content-type"].startswith(mends.EVENT_STREAM):
            headers = {"content-type": plan.stream_type}
            return httpx.Response(200, headers=headers, stream=_Mended(answer, plan.stream()))
        return _json(200, plan.answer(answer.read()))

    def close(self) -> None:
        self._upstream.close()


class _Mended(httpx.SyncByteStream):
    """The upstream's stream, mended; closed with the client's, whether read to its end or not."""

    def __init__(self, upstream: httpx.Response, stream: mends.Stream) -> None:
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
