"""A tool without a description, said as ``"description": null``.

llama.cpp insists on a text ("type must be string, but is null") and refuses the whole request;
OpenAI's own servers take it. simonw's ``llm`` sends it for a function without a docstring.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from .errors import fail_event
from .plan import Mend, Untouched

_ROUTE = "/v1/chat/completions"
_NULL = re.compile(rb'"description"\s*:\s*null')


def null_description(body: bytes) -> Mend | None:
    """The request without the null descriptions of its tools; ``None`` when it has none."""
    if _NULL.search(body) is None:
        return None
    request = orjson.loads(body)
    tools = request.get("tools")
    found = False
    for tool in tools if isinstance(tools, list) else ():
        function: Any = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict) and function.get("description", "") is None:
            del function["description"]
            found = True
    if not found:
        return None
    return Mend(
        names=("null_description",),
        path=_ROUTE,
        body=orjson.dumps(request),
        streams=bool(request.get("stream")),
        answer=lambda answer: answer,
        stream=lambda: Untouched(lambda error: fail_event(_ROUTE, error)),
    )
