"""/v1/chat/completions: OpenAI's chat, which llama.cpp speaks itself but for two things.

A tool without a description, said as ``"description": null``: llama.cpp insists on a text ("type
must be string, but is null") and refuses the whole request; OpenAI's own servers take it. simonw's
``llm`` sends it for a function without a docstring. And a tool choice that forces a call: see
``forced_tool``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from local_ai_suite.wire.routes import llama_server

from .conversation import ChatMessages
from .endpoint import Endpoint
from .forced_tool import forced_tool
from .gather import AskWhole
from .members import members
from .schemas import schemas

if TYPE_CHECKING:
    from .endpoint import Asked


def null_description(asked: Asked) -> None:
    """Leave out the descriptions of tools that are null."""
    if not any(_undescribed(tool) for tool in _tools(asked.request)):
        return
    for tool in _tools(asked.edit()):
        if _undescribed(tool):
            del tool["function"]["description"]


def _tools(request: dict[str, Any]) -> list[Any]:
    tools = request.get("tools")
    return tools if isinstance(tools, list) else []


def _undescribed(tool: Any) -> bool:
    function = tool.get("function") if isinstance(tool, dict) else None
    return isinstance(function, dict) and function.get("description", "") is None


class ChatForm:
    """A whole answer; ``n`` choices come mixed, each with a usage of its own at its end."""

    hides_what_it_holds: ClassVar[bool] = True

    def __init__(self) -> None:
        self._choices: dict[int, _Message] = {}
        self._ended: dict[int, dict[str, Any]] = {}
        self._usages: dict[int, dict[str, Any]] = {}
        self._last = 0

    def event(self, said: dict[str, Any]) -> None:
        for choice in said["choices"]:
            index = choice["index"]
            message = self._choices.get(index)
            if message is None:
                message = self._choices[index] = _Message()
            message.add(choice["delta"])
            if choice["finish_reason"] is not None:
                message.finish, self._last = choice["finish_reason"], index
                self._ended[index] = said
        if not said["choices"]:
            self._usages[self._last] = said  # it follows its choice's end

    def whole(self) -> dict[str, Any]:
        choices = []
        for index in range(len(self._choices)):
            message, usage = self._choices[index], self._usages[index]["usage"]
            if message.silent and (message.finish == "length" or usage["completion_tokens"] > 1):
                # Whole, llama.cpp shows the raw text of what its parser makes nothing of. One token
                # that is no cut is the end itself.
                raise AskWhole("tokens without a message")
            ended = {"finish_reason": message.finish, "index": index, "message": message.whole()}
            choices.append(ended)
        frame, usage = self._ended[0], self._usages[0]
        said = {
            "choices": choices,
            "created": frame["created"],
            "model": frame["model"],
            "system_fingerprint": frame["system_fingerprint"],
            "object": "chat.completion",
            "usage": usage["usage"],
            "id": frame["id"],
        }
        if "timings" in usage:
            said["timings"] = usage["timings"]
        return said


class _Message:
    """The deltas of one choice."""

    __slots__ = ("_calls", "_text", "_thought", "finish")

    def __init__(self) -> None:
        self._text: list[str] = []
        self._thought: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self.finish: str | None = None

    @property
    def silent(self) -> bool:
        return not (self._text or self._thought or self._calls)

    def add(self, delta: dict[str, Any]) -> None:
        if text := delta.get("content"):
            self._text.append(text)
        if thought := delta.get("reasoning_content"):
            self._thought.append(thought)
        for part in delta.get("tool_calls") or ():
            call = self._calls.setdefault(part["index"], {"name": "", "arguments": []})
            function = part.get("function") or {}
            call["id"] = part.get("id") or call.get("id")
            call["name"] = function.get("name") or call["name"]
            call["arguments"].append(function.get("arguments") or "")

    def whole(self) -> dict[str, Any]:
        said: dict[str, Any] = {"role": "assistant", "content": "".join(self._text)}
        if self._thought:
            said["reasoning_content"] = "".join(self._thought)
        if self._calls:
            said["tool_calls"] = [_call(self._calls[index]) for index in sorted(self._calls)]
        return said


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": "".join(call["arguments"])}
    named = {"id": call["id"]} if call["id"] else {}
    return {"type": "function", "function": function, **named}


ENDPOINTS = (
    Endpoint(
        llama_server("/v1/chat/completions"),
        translations=(members, null_description, schemas, forced_tool),
        form=ChatForm,
        conversation=ChatMessages(),
    ),
    Endpoint(
        llama_server("/v1/chat/completions/input_tokens"),
        translations=(members, null_description, schemas),
        conversation=ChatMessages(),
    ),
)
