"""Cursor's requests as chat completions.

With an address of one's own, Cursor's servers post to ``BASE/chat/completions`` whatever they have:
in Agent mode a Responses body (``input``, flat tools), in Ask mode a chat body whose ``tools`` mix
both protocols' shapes (litellm#34029). They always read a chat completion, whose calls must have a
``function``; for a custom tool such as ApplyPatch its ``arguments`` are the raw text
(codex-proxy#708), also in the history that comes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from local_ai_suite.wire.routes import Route

from .body import dumps
from .endpoint import Endpoint
from .errors import Refused
from .events import DONE, EventStream, data_event
from .responses.request import Tools, chat_request, chat_tool_choice

if TYPE_CHECKING:
    from collections.abc import Set

    from .endpoint import Asked

# Of a Responses body, what has no place in a chat body that carries it beside ``messages``.
_NOT_CHAT = frozenset({"input", "instructions", "include", "reasoning", "text", "truncation"})


def cursor(asked: Asked) -> None:
    """Whatever Cursor sent, as a chat completion. Raises Refused."""
    try:
        chat, custom = _chat_request(asked.edit())
    except (AttributeError, KeyError, TypeError) as exc:
        # The engine has no such route, so it could not say what is wrong with the request.
        message = f"the request is neither a chat completion's nor a response's: {exc}"
        raise Refused(message, "messages") from exc
    asked.send("/v1/chat/completions", chat)
    if custom:
        asked.translate(lambda answer: _answer(answer, custom), lambda: CursorStream(custom))


def _chat_request(request: dict[str, Any]) -> tuple[dict[str, Any], Set[str]]:
    """The chat body for either shape, and the names of the tools that are custom."""
    listed = request.get("tools")
    flat = [_flat(tool) for tool in listed if isinstance(tool, dict)] if listed else []
    tools = Tools()
    for tool in flat:
        tools.add(tool)
    custom = {name for name, tool in tools.names.items() if tool.custom}
    choice = request.get("tool_choice")
    request["tool_choice"] = _flat(choice) if isinstance(choice, dict) else choice
    if request.get("messages"):
        return _from_chat(request, tools, custom), custom
    return _from_responses({**request, "tools": flat}, tools, custom), custom


def _flat(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool, or a choice of one, as the Responses API writes it, however it was nested."""
    kind = tool.get("type")
    inner = tool.get(kind) if kind in {"function", "custom"} else None
    flat = {**inner, "type": kind} if isinstance(inner, dict) else dict(tool)
    grammar = flat["format"].get("grammar") if isinstance(flat.get("format"), dict) else None
    return {**flat, "format": {"type": "grammar", **grammar}} if isinstance(grammar, dict) else flat


def _from_chat(request: dict[str, Any], tools: Tools, custom: Set[str]) -> dict[str, Any]:
    chat = {key: value for key, value in request.items() if key not in _NOT_CHAT}
    chat["messages"] = [_message(message, custom) for message in request["messages"]]
    chat["tools"] = tools.functions or None
    chat["tool_choice"] = chat_tool_choice(request["tool_choice"]) if tools.functions else None
    return {key: value for key, value in chat.items() if value is not None}


def _from_responses(request: dict[str, Any], tools: Tools, custom: Set[str]) -> dict[str, Any]:
    said = request.get("input")
    if isinstance(said, list):
        request["input"] = [_item(item, custom) for item in said]
    return chat_request(request, tools)


def _message(message: Any, custom: Set[str]) -> Any:
    """A message of the history: calls of custom tools as calls of functions with one string."""
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    if not isinstance(calls, list):
        return message
    return {**message, "tool_calls": [_call(call, custom) for call in calls]}


def _call(call: dict[str, Any], custom: Set[str]) -> dict[str, Any]:
    function = call.get("function") or {}
    name, text = function.get("name"), function.get("arguments")
    if call.get("type") == "custom":
        name, text = call["custom"].get("name"), call["custom"].get("input")
    elif name not in custom:
        return call
    wrapped = dumps({"input": text or ""}).decode()
    made = {"name": name, "arguments": wrapped}
    return {"id": call.get("id"), "type": "function", "function": made}


def _item(item: Any, custom: Set[str]) -> Any:
    """The same of a Responses body's ``input``."""
    if not isinstance(item, dict) or item.get("type") != "function_call":
        return item
    if item.get("name") not in custom:
        return item
    return {**item, "type": "custom_tool_call", "input": item.get("arguments")}


def _raw(arguments: str) -> str:
    """The text in a custom tool's arguments; what the model left unfinished stays as it is."""
    try:
        said = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    return str(said.get("input", "")) if isinstance(said, dict) else arguments


def _answer(answer: dict[str, Any], custom: Set[str]) -> dict[str, Any]:
    for choice in answer.get("choices", ()):
        for call in choice["message"].get("tool_calls") or ():
            if call["function"]["name"] in custom:
                call["function"]["arguments"] = _raw(call["function"]["arguments"])
    return answer


class CursorStream(EventStream):
    """Chat chunks as they are, but a custom tool's arguments in one piece, when they are whole."""

    def __init__(self, custom: Set[str]) -> None:
        super().__init__()
        self._custom = custom
        # Of each choice and call of a custom tool, the pieces of its arguments so far.
        self._held: dict[tuple[int, int], list[str]] = {}

    def event(self, data: bytes) -> bytes:
        if data == b"[DONE]":
            return DONE
        chunk = orjson.loads(data)
        empty = False
        for choice in chunk.get("choices") or ():
            delta = choice.setdefault("delta", {})
            number = choice.get("index", 0)
            if (calls := delta.get("tool_calls")) is not None:
                delta["tool_calls"] = [call for call in calls if self._passes(number, call)]
                empty = not delta["tool_calls"] and choice.get("finish_reason") is None
            if choice.get("finish_reason") is not None and (whole := self._whole(number)):
                delta["tool_calls"] = [*(delta.get("tool_calls") or []), *whole]
        return b"" if empty else data_event(chunk)

    def _passes(self, choice: int, call: dict[str, Any]) -> bool:
        """Whether this piece of a call is sent on now; its arguments may be held back."""
        function = call.get("function") or {}
        place = (choice, call.get("index", 0))
        named = function.get("name") in self._custom
        if named:
            self._held.setdefault(place, [])
        if place not in self._held:
            return True
        self._held[place].append(function.get("arguments") or "")
        function["arguments"] = ""
        return named

    def _whole(self, choice: int) -> list[dict[str, Any]]:
        found = [place for place in self._held if place[0] == choice]
        return [
            {"index": place[1], "function": {"arguments": _raw("".join(self._held.pop(place)))}}
            for place in found
        ]


ENDPOINTS = (
    Endpoint(Route("/cursor/chat/completions", "generate", "chat"), translations=(cursor,)),
)
