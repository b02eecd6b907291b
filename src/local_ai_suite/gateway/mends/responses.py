"""The Responses API over chat completions: request, whole answer and stream put together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from .forced_tool import forced_tool
from .plan import Mend, Reply, Target
from .responses_answer import ResponseShape, whole_response
from .responses_request import NotServed, Tools, chat_request, read_tools
from .responses_stream import ResponseStream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .plan import Stream

_CHAT = "/v1/chat/completions"


def responses(body: bytes, target: Target) -> Mend | Reply:
    """The mend for every request to /v1/responses."""
    request = orjson.loads(body)
    tools = read_tools(request)
    try:
        chat = chat_request(request, tools, target.engine)
    except NotServed as refused:
        return Reply(400, orjson.dumps({"error": refused.error}))
    shape = ResponseShape(request, tools, target.public)

    def answer(completion: bytes) -> bytes:
        return orjson.dumps(whole_response(shape, orjson.loads(completion)))

    def stream() -> Stream:
        return ResponseStream(shape)

    mend = Mend(
        names=("responses",),
        path=_CHAT,
        body=orjson.dumps(chat),
        streams=bool(request.get("stream")),
        answer=answer,
        stream=stream,
    )
    inner = forced_tool(mend.body)
    if inner is None or isinstance(inner, Reply):
        return inner or mend
    return inner.then(replace(mend, body=inner.body))


def failed_event(error: Mapping[str, Any]) -> bytes:
    """A stream that failed before its first event: Codex waits for ``response.failed``."""
    return ResponseStream(ResponseShape({}, Tools(), "")).fail(error)
