"""A named ``tool_choice`` on Anthropic's Messages: the named tool is the only one on offer.

llama.cpp takes ``{"type": "tool", "name": ...}`` for "any tool" (llama.cpp#26535, as on chat
completions). A text block before the tool_use block is legal in this API, so it is enough to offer
the one tool; the engine's "any" then forces the call.
"""

from __future__ import annotations

from typing import Any

import orjson

from .errors import error_body, fail_event, openai_error
from .plan import Mend, Reply, Untouched

_ROUTE = "/v1/messages"


def named_tool_use(body: bytes) -> Mend | Reply | None:
    """The mend for a Messages request whose tool choice names one of several tools."""
    request = orjson.loads(body)
    choice, tools = request.get("tool_choice"), request.get("tools")
    if not isinstance(choice, dict) or choice.get("type") != "tool":
        return None
    name = choice.get("name")
    named = [tool for tool in _objects(tools) if tool.get("name") == name]
    if not named:
        text = f"tool_choice names {name!r}, which is not among the tools"
        return Reply(400, error_body(_ROUTE, 400, openai_error(text, param="tool_choice")))
    request["tools"] = named
    return Mend(
        names=("named_tool_use",),
        path=_ROUTE,
        body=orjson.dumps(request),
        streams=bool(request.get("stream")),
        answer=lambda answer: answer,
        stream=lambda: Untouched(lambda error: fail_event(_ROUTE, error)),
    )


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
