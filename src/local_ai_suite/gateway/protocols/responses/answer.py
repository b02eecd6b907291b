"""A chat completion as OpenAI's Response object.

Every field is there that the OpenAI SDKs' ``types.responses.Response`` (2.54) requires, and every
one that Open Responses' ``ResponseResource`` (schema/responses.tsp) does.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from local_ai_suite.gateway.protocols.body import NOTHING
from local_ai_suite.wire.envelope import CONTEXT_LENGTH_EXCEEDED

from .items import Call, Message, Thought

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local_ai_suite.gateway.protocols.body import Remembered

    from .items import Item
    from .request import Tools

_ECHOED: dict[str, Any] = {
    "frequency_penalty": 0, "instructions": None, "max_output_tokens": None,
    "max_tool_calls": None, "metadata": {}, "parallel_tool_calls": True, "presence_penalty": 0,
    "prompt_cache_key": None, "safety_identifier": None, "temperature": 0.8, "tool_choice": "auto",
    "top_logprobs": 0, "top_p": 0.95, "truncation": "disabled", "user": None,
}  # fmt: skip
"""What a response repeats of its request, with the value that stands for silence.

Numbers are wanted for the sampling: these are llama.cpp's own (common/common.h,
``common_params_sampling``), which a model's file may change without telling.
"""


def random_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(16)}"


class ResponseShape:
    """One response: the fields that stay the same from its creation to its end."""

    def __init__(
        self,
        request: Mapping[str, Any],
        tools: Tools,
        model: str,
        remembered: Remembered = NOTHING,
        *,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[str], str] = random_id,
    ) -> None:
        self.names = tools.names
        self.new_id = new_id
        self._clock = clock
        self._fixed: dict[str, Any] = {
            "id": new_id("resp"),
            "object": "response",
            "created_at": int(clock()),
            "background": False,
            "model": model,
            "previous_response_id": remembered.previous,
            "store": remembered.keeps,
            "service_tier": "default",
            "reasoning": _reasoning(request.get("reasoning")),
            "text": _text(request.get("text")),
            "tools": [_tool(tool) for tool in tools.served],
            **{
                key: request[key] if request.get(key) is not None else silent
                for key, silent in _ECHOED.items()
            },
        }

    def begun(self) -> dict[str, Any]:
        return self._with("in_progress", [], None)

    def ended(
        self, output: list[dict[str, Any]], usage: Mapping[str, Any], finish: str | None
    ) -> dict[str, Any]:
        """The whole response; ``finish`` is the chat completion's finish_reason."""
        if finish == "length":
            return {
                **self._with("incomplete", output, usage),
                "incomplete_details": {"reason": "max_output_tokens"},
            }
        done = self._with("completed", output, usage)
        return {**done, "completed_at": int(self._clock())}

    def failed(self, output: list[dict[str, Any]], error: Mapping[str, Any]) -> dict[str, Any]:
        known = error.get("code") in {CONTEXT_LENGTH_EXCEEDED, "rate_limit_exceeded"}
        code = error["code"] if known else "server_error"
        failed = self._with("failed", output, None)
        return {**failed, "error": {"code": code, "message": error.get("message")}}

    def _with(
        self, status: str, output: list[dict[str, Any]], usage: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        return {
            **self._fixed,
            "status": status,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "output": output,
            "usage": None if usage is None else _usage(usage),
        }


def _reasoning(asked: Any) -> dict[str, Any] | None:
    return {"effort": None, "summary": None, **asked} if isinstance(asked, dict) else None


def _text(asked: Any) -> dict[str, Any]:
    text = asked if isinstance(asked, dict) else {}
    wanted = text.get("format")
    if not isinstance(wanted, dict):
        wanted = {"type": "text"}
    elif wanted.get("type") == "json_schema":
        strict = wanted.get("strict") is True
        wanted = {"description": None, **wanted, "strict": strict}
    return {**text, "format": wanted}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": None, **tool}


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    prompt = usage.get("prompt_tokens") or 0
    made = usage.get("completion_tokens") or 0
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": prompt + made,
    }


def whole_response(shape: ResponseShape, completion: Mapping[str, Any]) -> dict[str, Any]:
    """The response for a whole chat completion."""
    choice = completion["choices"][0]
    message, finish = choice["message"], choice.get("finish_reason")
    output: list[dict[str, Any]] = []

    def add(item: Item, text: str, logprobs: list[dict[str, Any]]) -> None:
        item.more(text, logprobs)
        item.end(complete=finish != "length")
        output.append(item.whole)

    if thought := message.get("reasoning_content"):
        add(Thought(shape.new_id), thought, [])
    if text := message.get("content"):
        add(Message(shape.new_id), text, (choice.get("logprobs") or {}).get("content") or [])
    for call in message.get("tool_calls") or ():
        function = call["function"]
        item = Call(shape.new_id, shape.names, function["name"], call.get("id"))
        add(item, function["arguments"], [])
    return shape.ended(output, completion.get("usage") or {}, finish)
