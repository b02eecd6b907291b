"""What no template takes, put right: nulls, other APIs' parts, broken arguments, missing ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .arguments import repaired
from .conversation import calls_of, joined_turns, result_text, role_of, with_calls

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conversation import Message

_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
# Members of a message that llama.cpp reads as text and refuses as null.
_READ_MEMBERS = ("name", "reasoning_content", "tool_call_id", "tool_calls")


def without_nulls(messages: list[Message]) -> list[Message]:
    """Members that are null where llama.cpp reads text are left out; a message has a content."""
    return [_without_null(message) for message in messages]


def _without_null(message: Message) -> Message:
    if any(message.get(name, "") is None for name in _READ_MEMBERS):
        message = {
            key: value
            for key, value in message.items()
            if value is not None or key not in _READ_MEMBERS
        }
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        kept = [_call_without_null(call) for call in calls]
        if kept != calls:
            message = {**message, "tool_calls": kept}
        if not kept:
            message = {key: value for key, value in message.items() if key != "tool_calls"}
    if "content" not in message and "tool_calls" not in message and "role" in message:
        message = {**message, "content": ""}
    return message


def _call_without_null(call: Any) -> Any:
    if isinstance(call, dict) and call.get("id", "") is None:
        call = {key: value for key, value in call.items() if key != "id"}
    if isinstance(call, dict) and "function" in call and call.get("type") is None:
        call = {**call, "type": "function"}
    return call


def known_parts(messages: list[Message]) -> list[Message]:
    """Parts of text under other APIs' names are text."""
    return [_with_parts(message, _known_part) for message in messages]


def _known_part(part: Any) -> Any:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, dict):
        return part
    kind = part.get("type")
    if kind in _TEXT_PARTS and kind != "text" and isinstance(part.get("text"), str):
        return {**part, "type": "text"}
    if kind == "refusal" and isinstance(part.get("refusal"), str):
        return {"type": "text", "text": part["refusal"]}
    return part


def _with_parts(message: Message, change: Callable[[Any], Any]) -> Message:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    parts = [change(part) for part in content]
    return message if parts == content else {**message, "content": parts}


def whole_arguments(messages: list[Message]) -> list[Message]:
    """Each call's arguments are a JSON object: the engine parses them for most templates."""
    return [
        with_calls(message, _with_whole_arguments) if calls_of(message) else message
        for message in messages
    ]


def _with_whole_arguments(call: Any) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return call
    given = function.get("arguments")
    whole = repaired(given)
    if whole is given:
        return call
    return {**call, "function": {**function, "arguments": whole}}


def with_ids(messages: list[Message]) -> list[Message]:
    """Calls and results without an id get one by their place: results answer in order."""
    made: list[Message] = []
    waiting: list[Any] = []
    for number, message in enumerate(messages):
        if calls := calls_of(message):
            if not all(call.get("id") for call in calls):
                calls = [
                    call if call.get("id") else {**call, "id": f"call_{number}_{place}"}
                    for place, call in enumerate(calls)
                ]
                message = {**message, "tool_calls": calls}  # noqa: PLW2901
            waiting = [call["id"] for call in calls]
        elif role_of(message) == "tool":
            id_ = message.get("tool_call_id")
            if not id_:
                id_ = waiting[0] if waiting else f"call_{number}"
                message = {**message, "tool_call_id": id_}  # noqa: PLW2901
            waiting = [other for other in waiting if other != id_]
        made.append(message)
    return made


def without_function_role(messages: list[Message]) -> list[Message]:
    """The results of OpenAI's first function calls: no template knows their role any more."""
    return [
        {"role": "user", "content": result_text(message)}
        if message.get("role") == "function"
        else message
        for message in messages
    ]


def one_prefill(messages: list[Message]) -> list[Message]:
    """The engine continues one assistant's turn at the end, not two."""
    start = len(messages)
    while start and role_of(messages[start - 1]) == "assistant":
        start -= 1
    if len(messages) - start < 2:
        return messages
    return [*messages[:start], *joined_turns(messages[start:])]
