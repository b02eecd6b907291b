"""A tool choice that forces a call, honoured.

llama.cpp treats a named ``tool_choice`` as "auto" (llama.cpp#26535), and under "required" it lets
the model talk as long as it likes before the call (#27217). The gateway asks instead for the call
itself as JSON, under the grammar of a schema (for one function: of its arguments; for several:
``{"name": ..., "arguments": ...}``), and gives the answer the shape of a tool call. The prompt
still shows the tools: the template renders them whatever ``tool_choice`` is.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

import orjson

from .errors import Refused
from .events import DONE, EventStream, data_event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .endpoint import Asked

_ANY_ARGUMENTS = {"type": "object"}


def forced_tool(asked: Asked) -> None:
    """Honour a tool choice that is more than auto or none. Raises Refused."""
    choice = asked.request.get("tool_choice")
    if not isinstance(choice, dict) and choice != "required":
        return
    request = asked.edit()
    tools = _functions(request)
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools")
        allowed = allowed if isinstance(allowed, dict) else {}
        names = _functions(allowed)
        tools = {name: tool for name, tool in tools.items() if name in names}
        choice = allowed.get("mode", "auto")
        request |= {"tools": list(tools.values()), "tool_choice": choice}
    if isinstance(choice, dict):
        name = _name(choice)
        if name not in tools:
            text = f"tool_choice names {name!r}, which is not among the tools"
            raise Refused(text, "tool_choice")
        tools = {name: tools[name]}
    elif choice != "required" or not tools:
        return
    only = next(iter(tools)) if len(tools) == 1 else None
    schema = _arguments_schema(tools[only]) if only else {
        "anyOf": [_call_schema(name, tool) for name, tool in tools.items()]
    }  # fmt: skip
    request.pop("parallel_tool_calls", None)
    request |= {
        "tools": list(tools.values()),
        "tool_choice": "none",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "tool_call", "schema": schema},
        },
    }
    asked.translate(lambda answer: _answer(answer, only), lambda: _ForcedStream(only))


def _functions(request: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    tools = request.get("tools")
    return {_name(tool): tool for tool in (tools if isinstance(tools, list) else ()) if _name(tool)}


def _name(tool: Any) -> str:
    function = tool.get("function") if isinstance(tool, dict) else None
    return str(function.get("name") or "") if isinstance(function, dict) else ""


def _arguments_schema(tool: Mapping[str, Any]) -> Any:
    return tool["function"].get("parameters") or _ANY_ARGUMENTS


def _call_schema(name: str, tool: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"name": {"const": name}, "arguments": _arguments_schema(tool)},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _answer(answer: dict[str, Any], only: str | None) -> dict[str, Any]:
    for choice in answer.get("choices", ()):
        message = choice["message"]
        call = CallReader(only)
        deltas = call.feed(message.get("content") or "")
        message["content"] = None
        function = {"name": call.name, "arguments": "".join(deltas)}
        if call.name:
            message["tool_calls"] = [{"id": call.id, "type": "function", "function": function}]
        choice["finish_reason"] = _finish(choice.get("finish_reason"))
    return answer


def _finish(reason: str | None) -> str | None:
    return "tool_calls" if reason == "stop" else reason


class CallReader:
    """The JSON that the model writes, text by text, as a call's name and its arguments."""

    _HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*')

    def __init__(
        self, only: str | None, new_id: Callable[[], str] = lambda: f"call_{secrets.token_hex(12)}"
    ) -> None:
        self.id = new_id()
        self.name = only
        self._wrapped = only is None
        self._held = ""

    def feed(self, text: str) -> list[str]:
        """The next pieces of the arguments; none before the name is known."""
        if not self._wrapped:
            return [text] if text else []
        self._held += text
        if self.name is None:
            head = self._HEAD.match(self._held)
            if head is None:
                return []
            self.name = str(orjson.loads(head[1]))
            self._held = self._held[head.end() :]
        # The last brace closes the wrapper: it and the blanks around it are never passed on.
        last = self._held.rfind("}")
        last = len(self._held) if last < 0 else last
        piece, self._held = self._held[:last], self._held[last:]
        return [piece] if piece else []


class _ForcedStream(EventStream):
    def __init__(self, only: str | None) -> None:
        super().__init__()
        self._only = only
        self._calls: dict[int, CallReader] = {}
        self._told: set[int] = set()

    def event(self, data: bytes) -> bytes:
        if data == b"[DONE]":
            return DONE
        chunk = orjson.loads(data)
        for choice in chunk.get("choices") or ():
            self._choice(choice)
        return data_event(chunk)

    def _choice(self, choice: dict[str, Any]) -> None:
        choice["finish_reason"] = _finish(choice.get("finish_reason"))
        delta, index = choice.get("delta") or {}, choice.get("index", 0)
        text = delta.pop("content", None)
        if not text:
            return
        call = self._calls.setdefault(index, CallReader(self._only))
        pieces = call.feed(text)
        if call.name is None:
            return
        told: dict[str, Any] = {"index": 0}
        function: dict[str, Any] = {"arguments": "".join(pieces)}
        if index not in self._told:
            self._told.add(index)
            told |= {"id": call.id, "type": "function"}
            function = {"name": call.name, **function}
        elif not pieces:
            return
        delta["tool_calls"] = [{**told, "function": function}]
