"""A conversation as a list of OpenAI's chat messages, and the pieces that rewriting it needs.

The form is the one that llama.cpp reads (``common/chat.cpp``,
``common_chat_msgs_parse_oaicompat``). Nothing here changes what it is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Message = dict[str, Any]

SYSTEM_ROLES = frozenset({"system", "developer"})


def role_of(message: Message) -> Any:
    return message.get("role")


def calls_of(message: Message) -> list[dict[str, Any]]:
    calls = message.get("tool_calls")
    if role_of(message) != "assistant" or not isinstance(calls, list):
        return []
    return calls if all(isinstance(call, dict) for call in calls) else []


def function_of(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    return function if isinstance(function, dict) else {}


def with_calls(message: Message, change: Callable[[Any], Any]) -> Message:
    calls = [change(call) for call in message["tool_calls"]]
    return message if calls == message["tool_calls"] else {**message, "tool_calls": calls}


def without_calls(message: Message) -> Message:
    return {key: value for key, value in message.items() if key != "tool_calls"}


def result_for(call: dict[str, Any], text: str) -> Message:
    return {"role": "tool", "tool_call_id": call.get("id"), "content": text}


def leading_systems(messages: list[Message]) -> int:
    count = 0
    while count < len(messages) and role_of(messages[count]) in SYSTEM_ROLES:
        count += 1
    return count


def spans(messages: list[Message]) -> list[list[Message]]:
    """Cut before each assistant's turn; the first span may hold none."""
    spans: list[list[Message]] = [[]]
    for message in messages:
        if role_of(message) == "assistant":
            spans.append([message])
        else:
            spans[-1].append(message)
    return spans


def is_text(part: Any) -> bool:
    return (
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
    )


def result_text(message: Message) -> Any:
    content = message.get("content")
    return "" if content is None else content


def joined(first: Message, second: Message, *, keep: Message | None = None) -> Message:
    """``second``'s content and calls after ``first``'s; other members from ``keep`` or both."""
    made = {**second, **first} if keep is None else dict(keep)
    made["content"] = _contents(first.get("content"), second.get("content"))
    if calls := [*(first.get("tool_calls") or []), *(second.get("tool_calls") or [])]:
        made["tool_calls"] = calls
    return made


def _contents(first: Any, second: Any) -> Any:
    """Two contents as one: an empty line between two texts, parts in a row."""
    if first in (None, "", []):
        return "" if second is None else second
    if second in (None, "", []):
        return first
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*_as_parts(first), *_as_parts(second)]


def _as_parts(content: Any) -> list[Any]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def joined_turns(messages: list[Message]) -> list[Message]:
    """Equal neighbours are one turn."""
    made: list[Message] = []
    for message in messages:
        role = role_of(message)
        if made and role in {"user", "assistant"} and role_of(made[-1]) == role:
            made[-1] = joined(made[-1], message)
        else:
            made.append(message)
    return made
