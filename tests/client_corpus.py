"""The replay corpus: what real clients sent, kept small and without anything of the machine's.

Long texts are shortened: what a request is made of stays (fields, types, tools with their schemas,
turns), the clients' own prose does not. A trigger of the scripted model's is never cut away, so
a replayed request gets the answer that the recorded one got.
"""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client_script import script_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from client_recorder import Exchange

FOLDER = Path(__file__).parent / "replay" / "corpus"
WORK, HOME = "/work", "/home/person"
PLACEHOLDER = "placeholder"
MOST = 10
"""Different requests kept of one client."""

_LONG = 72
_TRIGGERS = tuple(rule.trigger for rule in script_for(WORK).rules)
_EXACT = {"pattern", "enum", "const", "$ref", "format", "required", "model", "type", "name"}
KEY_HEADERS = {"authorization", "x-api-key", "api-key", "x-litellm-api-key"}
_DROPPED = {"host", "content-length", "connection", "accept-encoding", "cookie", "expect",
            "transfer-encoding", "keep-alive", "traceparent", "tracestate", "baggage"}  # fmt: skip
# Ids that are new at each run: UUIDs, and long words of letters with a digit among them.
_RANDOM = re.compile(
    r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|(?=[A-Za-z]*\d)[A-Za-z0-9]{24,}"
)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z?)?")


def trim(exchanges: Iterable[Exchange], places: Mapping[str, str]) -> list[dict[str, Any]]:
    """The different requests among ``exchanges``; ``places``: what stands for which folder."""
    ids: dict[str, str] = {}
    names = {**places, socket.gethostname(): "machine"} if len(socket.gethostname()) > 4 else places

    def clean(text: str) -> str:
        for real in sorted(names, key=len, reverse=True):
            text = text.replace(real, names[real])
        text = re.sub(r"(localhost|127\.0\.0\.1):\d+", r"\1:8000", text)
        text = _MOMENT.sub("2026-01-01", text)
        return _RANDOM.sub(lambda m: ids.setdefault(m.group(), f"id{len(ids) + 1}"), text)

    kept: dict[str, dict[str, Any]] = {}
    for one in exchanges:
        if one.headers.get("user-agent") == "lais" or one.method in {"HEAD", "OPTIONS"}:
            continue
        headers = {
            name: f"Bearer {PLACEHOLDER}" if name in KEY_HEADERS else clean(value)
            for name, value in sorted(one.headers.items())
            if name not in _DROPPED
        }
        body = _shorten(json.loads(clean(one.body.decode()))) if one.body else None
        answer = json.loads(clean(json.dumps(summary(one.status, one.content_type, one.answer))))
        request = {"method": one.method, "path": clean(one.path), "headers": headers, "body": body}
        same = json.dumps([one.method, one.path, body], sort_keys=True)
        kept.setdefault(same, {**request, "answer": answer})
    return list(kept.values())[:MOST]


def _shorten(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _shorten(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [_shorten(one, key) for one in value]
    if not isinstance(value, str) or key in _EXACT or len(value) <= _LONG:
        return value
    if key == "arguments":  # JSON in a string
        return value
    start = value[: _LONG // 2]
    cut = [trigger for trigger in _TRIGGERS if trigger in value and trigger not in start]
    return " ".join([start, *cut, "[...]"])


def pack(exchanges: list[dict[str, Any]]) -> dict[str, Any]:
    """Tools stand once each: a client sends the same forty with every request."""
    tools: list[Any] = []
    packed = []
    for one in exchanges:
        body = one["body"]
        if isinstance(body, dict) and isinstance(body.get("tools"), list):
            numbers = []
            for tool in body["tools"]:
                if tool not in tools:
                    tools.append(tool)
                numbers.append(tools.index(tool))
            body = {**body, "tools": numbers}
        packed.append({**one, "body": body})
    return {"tools": tools, "exchanges": packed}


def unpack(client: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The exchanges of a kept client, with their tools."""
    found = []
    for one in client["exchanges"]:
        body = one["body"]
        if isinstance(body, dict) and "tools" in body:
            body = {**body, "tools": [client["tools"][number] for number in body["tools"]]}
        found.append({**one, "body": body})
    return found


def as_text(client: Mapping[str, Any]) -> str:
    """A kept client's file: one line a tool, readable differences otherwise."""
    tools = [json.dumps(tool, ensure_ascii=False) for tool in client["tools"]]
    rest = {**client, "tools": []}
    text = json.dumps(rest, ensure_ascii=False, indent=1)
    if tools:
        text = text.replace('"tools": []', '"tools": [\n  ' + ",\n  ".join(tools) + "\n ]", 1)
    return text + "\n"


def kept() -> dict[str, dict[str, Any]]:
    """Client -> what is kept of it."""
    files = sorted(FOLDER.glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}


# What an answer says, whatever its protocol ----------------------------------------------------


def summary(status: int, content_type: str, answer: bytes) -> dict[str, Any]:
    """``status``, ``form`` (json, stream, other) and what was said: ``text``, ``calls``, ``end``.

    Raises ``AssertionError`` for a stream that breaks its protocol's rules.
    """
    if content_type.startswith("text/event-stream"):
        return {"status": status, "form": "stream", **_stream(answer)}
    if not content_type.startswith("application/json"):
        return {"status": status, "form": "other"}
    data = json.loads(answer)
    if status >= 400:
        error = data.get("error", {})
        return {"status": status, "form": "json", "code": error.get("code") or error.get("type")}
    return {"status": status, "form": "json", **_whole(data)}


def _whole(data: dict[str, Any]) -> dict[str, Any]:
    if "choices" in data:
        choice = data["choices"][0]
        message = choice.get("message", {"content": choice.get("text")})
        calls = [call["function"] for call in message.get("tool_calls") or []]
        return _said(message.get("content"), calls, choice["finish_reason"])
    if "output" in data:
        return _items(data["output"], data["status"])
    if isinstance(data.get("content"), list):
        return _blocks(data["content"], data["stop_reason"])
    if "input_tokens" in data:
        return {"tokens": data["input_tokens"] > 0}
    if data.get("object") == "list" and "embedding" in (data["data"] or [{}])[0]:
        return {"vectors": len(data["data"])}
    return {"models": "local-chat" in json.dumps(data)}


def _said(text: str | None, calls: list[dict[str, Any]], end: str) -> dict[str, Any]:
    made = [[call["name"], _parsed(call["arguments"])] for call in calls]
    return {"text": (text or "").strip(), "calls": made, "end": end}


def _parsed(arguments: str | dict[str, Any]) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments  # Cursor's custom tools take a text


def _items(items: list[dict[str, Any]], end: str) -> dict[str, Any]:
    parts = [part for item in items for part in item.get("content") or []]
    text = "".join(part["text"] for part in parts if part["type"] == "output_text")
    return _said(text, [item for item in items if item["type"] == "function_call"], end)


def _blocks(blocks: list[dict[str, Any]], end: str) -> dict[str, Any]:
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    calls = [block for block in blocks if block["type"] == "tool_use"]
    return _said(text, [{"name": c["name"], "arguments": c["input"]} for c in calls], end)


def _stream(answer: bytes) -> dict[str, Any]:
    lines = answer.decode().replace("\r\n", "\n").split("\n")
    data = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
    if not data:
        return {"text": "", "calls": [], "end": "empty"}
    events = [json.loads(one) for one in data if one != "[DONE]"]
    if "choices" in events[0]:
        assert data[-1] == "[DONE]", "a chat stream ends with [DONE]"
        return _chat(events)
    if str(events[0].get("type", "")).startswith("response."):
        return _responses(events)
    return _messages(events)


def _chat(events: list[dict[str, Any]]) -> dict[str, Any]:
    text, end = "", ""
    calls: dict[int, dict[str, str]] = {}
    usage = False
    for event in events:
        usage = usage or event.get("usage") is not None
        for choice in event["choices"]:
            delta = choice.get("delta", {"content": choice.get("text")})
            text += delta.get("content") or ""
            end = choice.get("finish_reason") or end
            for part in delta.get("tool_calls") or []:
                call = calls.setdefault(part["index"], {"name": "", "arguments": ""})
                for name in call:
                    call[name] += part["function"].get(name) or ""
    return {**_said(text, [calls[n] for n in sorted(calls)], end), "usage": usage}


def _responses(events: list[dict[str, Any]]) -> dict[str, Any]:
    numbers = [event["sequence_number"] for event in events]
    assert numbers == sorted(set(numbers)), "sequence numbers rise"
    assert events[0]["type"] == "response.created"
    assert events[-1]["type"] == "response.completed", events[-1]["type"]
    deltas = "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
    whole = events[-1]["response"]
    found = _items(whole["output"], whole["status"])
    assert found["text"] == deltas.strip(), "the deltas are the text"
    return found


def _messages(events: list[dict[str, Any]]) -> dict[str, Any]:
    assert events[0]["type"] == "message_start"
    assert events[-1]["type"] == "message_stop"
    blocks: dict[int, dict[str, Any]] = {}
    end = ""
    for event in events:
        if event["type"] == "content_block_start":
            blocks[event["index"]] = {**event["content_block"], "json": ""}
        elif event["type"] == "content_block_delta":
            block, delta = blocks[event["index"]], event["delta"]
            if delta["type"] == "text_delta":
                block["text"] += delta["text"]
            elif delta["type"] == "input_json_delta":
                block["json"] += delta["partial_json"]
        elif event["type"] == "message_delta":
            end = event["delta"].get("stop_reason") or end
    for block in blocks.values():
        if block["type"] == "tool_use":
            block["input"] = json.loads(block["json"])
    return _blocks([blocks[index] for index in sorted(blocks)], end)


_PROMPT = re.compile(rb'"(?:prompt_tokens|input_tokens)"\s*:\s*(\d+)')
# llama.cpp's own, in every stream's last chunk: tokens taken from its cache, and the others.
_TIMINGS = re.compile(rb'"cache_n"\s*:\s*(\d+)\s*,\s*"prompt_n"\s*:\s*(\d+)')


def prompt_tokens(answer: bytes) -> int | None:
    """The prompt's length as an answer tells it in its usage, whatever the protocol."""
    found = [int(number) for number in _PROMPT.findall(answer)]
    found += [int(cached) + int(new) for cached, new in _TIMINGS.findall(answer)]
    return max(found, default=None)
