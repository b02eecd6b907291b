"""Anthropic's turns as chat messages and back, as llama.cpp converts them.

The source is ``server_chat_convert_anthropic_to_oai`` (tools/server/server-chat.cpp): system
blocks are one text, the results in a user's turn come after that turn's text, and text blocks of a
result are one text. Blocks that are neither text nor calls nor results pass through as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .body import loads

if TYPE_CHECKING:
    from local_ai_suite.templates.conversation import Message


class AnthropicTurns:
    """``system`` and ``messages`` of a request to /v1/messages."""

    def read(self, request: dict[str, Any]) -> list[Message]:
        """See ``endpoint.Conversation``."""
        made: list[Message] = []
        if (system := request.get("system")) is not None:
            made.append({"role": "system", "content": _system_text(system)})
        for turn in request["messages"]:
            made += _read_turn(turn)
        return made

    def write(self, request: dict[str, Any], messages: list[Message]) -> None:
        """See ``endpoint.Conversation``."""
        rest = messages
        request.pop("system", None)
        if messages and messages[0].get("role") in {"system", "developer"}:
            request["system"], rest = _blocks(messages[0].get("content")), messages[1:]
        turns: list[dict[str, Any]] = []
        for message in rest:
            if message.get("role") == "tool":
                result = _result_block(message)
                if turns and _holds_results(turns[-1]):
                    turns[-1]["content"].append(result)
                else:
                    turns.append({"role": "user", "content": [result]})
            elif message.get("role") == "assistant":
                turns.append({"role": "assistant", "content": _assistant_blocks(message)})
            else:
                turns.append({"role": message.get("role"), "content": message.get("content")})
        request["messages"] = turns


def _system_text(system: Any) -> str:
    if isinstance(system, str):
        return system
    return "".join(block["text"] for block in system if block.get("type") == "text")


def _read_turn(turn: dict[str, Any]) -> list[Message]:
    content = turn.get("content")
    if not isinstance(content, list):
        return [] if turn.get("role") == "assistant" and "content" not in turn else [turn]
    parts: list[Any] = []
    calls: list[dict[str, Any]] = []
    results: list[Message] = []
    thought = ""
    for block in content:
        match block.get("type"):
            case "thinking":
                thought += block.get("thinking") or ""
            case "tool_use":
                function = {"name": block.get("name"), "arguments": block.get("input")}
                calls.append({"id": block.get("id"), "type": "function", "function": function})
            case "tool_result":
                results.append(_read_result(block))
            case _:
                parts.append(block)
    made: list[Message] = []
    if parts or calls or thought:
        message: Message = {"role": turn.get("role"), "content": parts or ""}
        if calls:
            message["tool_calls"] = calls
        if thought:
            message["reasoning_content"] = thought
        made.append(message)
    return [*made, *results]


def _read_result(block: dict[str, Any]) -> Message:
    content = block.get("content")
    if isinstance(content, list) and all(part.get("type") == "text" for part in content):
        content = "".join(part["text"] for part in content)
    message: Message = {"role": "tool", "tool_call_id": block.get("tool_use_id")}
    if "is_error" in block:
        message["is_error"] = block["is_error"]
    return {**message, "content": "" if content is None else content}


def _holds_results(turn: dict[str, Any]) -> bool:
    content = turn.get("content")
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(block, dict) and block.get("type") == "tool_result" for block in content)
    )


def _result_block(message: Message) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": message.get("tool_call_id")}
    if "is_error" in message:
        block["is_error"] = message["is_error"]
    return {**block, "content": message.get("content")}


def _assistant_blocks(message: Message) -> Any:
    content, calls = message.get("content"), message.get("tool_calls") or []
    thought = message.get("reasoning_content")
    if not calls and not thought:
        return content
    blocks: list[Any] = [{"type": "thinking", "thinking": thought, "signature": ""}] * bool(thought)
    if isinstance(content, str):
        blocks += [{"type": "text", "text": content}] * bool(content)
    else:
        blocks += content or []
    for call in calls:
        given = call["function"].get("arguments")
        blocks.append({
            "type": "tool_use", "id": call.get("id"), "name": call["function"].get("name"),
            "input": loads(given) if isinstance(given, str) else given,
        })  # fmt: skip
    return blocks


def _blocks(content: Any) -> Any:
    """A system prompt is a text or a list of text blocks."""
    return "" if content is None else content
