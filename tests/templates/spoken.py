"""A history as each of the four chat protocols says it, in the way its clients do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from histories import History

MOST_TOKENS = 24
Body = dict[str, Any]


def chat(history: History, model: str, *, stream: bool) -> Body:
    """OpenAI's chat completions."""
    return {
        "model": model, "messages": list(history.messages), "max_tokens": MOST_TOKENS,
        "stream": stream, **history.more,
    }  # fmt: skip


def responses(history: History, model: str, *, stream: bool) -> Body:
    """OpenAI's Responses."""
    items: list[Any] = []
    for message in history.messages:
        items += _items(message)
    body: Body = {
        "model": model, "input": items, "max_output_tokens": MOST_TOKENS, "stream": stream,
    }  # fmt: skip
    if tools := history.more.get("tools"):
        body["tools"] = [{"type": "function", **tool["function"]} for tool in tools]
    if choice := history.more.get("tool_choice"):
        body["tool_choice"] = choice
    return body


def _items(message: dict[str, Any]) -> list[Any]:
    role, content = message["role"], message["content"]
    if role == "tool":
        return [{
            "type": "function_call_output", "call_id": message["tool_call_id"],
            "output": _parts(content, "input_text"),
        }]  # fmt: skip
    items: list[Any] = []
    if thought := message.get("reasoning_content"):
        items.append({
            "type": "reasoning", "summary": [],
            "content": [{"type": "reasoning_text", "text": thought}],
        })  # fmt: skip
    kind = "output_text" if role == "assistant" else "input_text"
    if content or not message.get("tool_calls"):
        items.append({"type": "message", "role": role, "content": _parts(content, kind)})
    items += [
        {
            "type": "function_call", "call_id": call["id"], "name": call["function"]["name"],
            "arguments": call["function"]["arguments"],
        }
        for call in message.get("tool_calls") or ()
    ]  # fmt: skip
    return items


def _parts(content: Any, kind: str) -> Any:
    if not isinstance(content, list):
        return content or ""
    return [_part(part, kind) for part in content]


def _part(part: dict[str, Any], kind: str) -> dict[str, Any]:
    if part["type"] == "image_url":
        return {"type": "input_image", "image_url": part["image_url"]["url"]}
    if part["type"] == "refusal":
        return part
    return {"type": kind, "text": part["text"]}


def messages(history: History, model: str, *, stream: bool) -> Body:
    """Anthropic's Messages: results and the text after them share a user's turn."""
    turns: list[Body] = []
    system: Any = None
    for number, message in enumerate(history.messages):
        role = "user" if message["role"] == "tool" else message["role"]
        if role == "system" and number == 0:
            system = _anthropic_blocks(message["content"]) or ""
            continue
        blocks = _turn(message)
        if turns and turns[-1]["role"] == role == "user" and _has_result(turns[-1], message):
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    body: Body = {
        "model": model, "messages": turns, "max_tokens": MOST_TOKENS, "stream": stream,
    }  # fmt: skip
    if system is not None:
        body["system"] = system
    if tools := history.more.get("tools"):
        body["tools"] = [
            {
                "name": tool["function"]["name"],
                "description": tool["function"]["description"],
                "input_schema": tool["function"]["parameters"],
            }
            for tool in tools
        ]
    if choice := history.more.get("tool_choice"):
        body["tool_choice"] = {"type": {"required": "any"}.get(choice, choice)}
    return body


def _has_result(turn: Body, message: dict[str, Any]) -> bool:
    kinds = {block["type"] for block in turn["content"]}
    return "tool_result" in kinds or message["role"] == "tool"


def _turn(message: dict[str, Any]) -> list[Body]:
    if message["role"] == "tool":
        return [{
            "type": "tool_result", "tool_use_id": message["tool_call_id"],
            "content": _anthropic_blocks(message["content"]),
        }]  # fmt: skip
    blocks: list[Body] = []
    if thought := message.get("reasoning_content"):
        blocks.append({"type": "thinking", "thinking": thought, "signature": "s"})
    text = _anthropic_blocks(message["content"])
    if isinstance(text, str):
        text = [{"type": "text", "text": text}]
    blocks += text or []
    blocks += [
        {
            "type": "tool_use", "id": call["id"], "name": call["function"]["name"],
            "input": _input(call["function"]["arguments"]),
        }
        for call in message.get("tool_calls") or ()
    ]  # fmt: skip
    return blocks


def _input(arguments: str) -> Any:
    """What a client makes of arguments that are no JSON."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _anthropic_blocks(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    return [_block(part) for part in content]


def _block(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] == "image_url":
        kind, _, data = part["image_url"]["url"].removeprefix("data:").partition(";base64,")
        return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}
    return {"type": "text", "text": part.get("text") or part.get("refusal") or ""}


def ollama(history: History, model: str, *, stream: bool) -> Body:
    """Ollama's /api/chat."""
    body: Body = {
        "model": model, "messages": [_ollama_message(m) for m in history.messages],
        "stream": stream, "options": {"num_predict": MOST_TOKENS},
    }  # fmt: skip
    if tools := history.more.get("tools"):
        body["tools"] = tools
    return body


def _ollama_message(message: dict[str, Any]) -> Body:
    content = message["content"]
    made: Body = {"role": message["role"], "content": content or ""}
    if isinstance(content, list):
        made["content"] = "\n".join(p.get("text") or p.get("refusal") or "" for p in content)
        if images := [p["image_url"]["url"] for p in content if p["type"] == "image_url"]:
            made["images"] = [url.partition(";base64,")[2] for url in images]
    if calls := message.get("tool_calls"):
        made["tool_calls"] = [
            {"function": {
                "name": call["function"]["name"],
                "arguments": _input(call["function"]["arguments"]),
            }}
            for call in calls
        ]  # fmt: skip
    if message["role"] == "tool":
        made["tool_name"] = "look_up"
    if thought := message.get("reasoning_content"):
        made["thinking"] = thought
    return made


PROTOCOLS = {
    "/v1/chat/completions": chat,
    "/v1/responses": responses,
    "/v1/messages": messages,
    "/api/chat": ollama,
}
