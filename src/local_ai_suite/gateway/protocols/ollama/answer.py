"""The engine's answers as Ollama's: one object, or one object a line; durations in nanoseconds."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from local_ai_suite.gateway.protocols.body import dumps, loads
from local_ai_suite.gateway.protocols.errors import read_error
from local_ai_suite.gateway.protocols.events import EventStream

if TYPE_CHECKING:
    from collections.abc import Mapping

_NS_PER_MS = 1_000_000


@dataclass(slots=True)
class Answer:
    """What has been told of one answer so far. ``chat`` is /api/chat, else /api/generate."""

    model: str
    chat: bool
    began: float = field(default_factory=time.monotonic)
    finish: str | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)

    def line(
        self, text: str, thinking: str = "", calls: list[dict[str, Any]] | None = None
    ) -> dict[str, Any]:
        """A part of the answer."""
        if self.chat:
            message: dict[str, Any] = {"role": "assistant", "content": text}
            if thinking:
                message["thinking"] = thinking
            if calls:
                message["tool_calls"] = calls
            return {**self._head(), "message": message, "done": False}
        thought = {"thinking": thinking} if thinking else {}
        return {**self._head(), "response": text, **thought, "done": False}

    def counts(self) -> dict[str, Any]:
        """What the last line, or the whole answer, adds."""
        return {
            "done": True,
            "done_reason": "length" if self.finish == "length" else "stop",
            "total_duration": int((time.monotonic() - self.began) * 1e9),
            "load_duration": 0,
            "prompt_eval_count": self.usage.get("prompt_tokens") or 0,
            "prompt_eval_duration": int((self.timings.get("prompt_ms") or 0) * _NS_PER_MS),
            "eval_count": self.usage.get("completion_tokens") or 0,
            "eval_duration": int((self.timings.get("predicted_ms") or 0) * _NS_PER_MS),
        }

    def learn(self, said: Mapping[str, Any]) -> None:
        """Take usage, timings and reason out of the engine's object, whichever route's it is."""
        self.usage = said.get("usage") or self.usage
        self.timings = said.get("timings") or self.timings
        if "tokens_predicted" in said:
            made, prompt = said["tokens_predicted"], said.get("tokens_evaluated")
            self.usage = {"prompt_tokens": prompt, "completion_tokens": made}
        if said.get("stop") is True:
            self.finish = "length" if said.get("stop_type") == "limit" else "stop"
        for choice in said.get("choices") or ():
            self.finish = choice.get("finish_reason") or self.finish

    def _head(self) -> dict[str, Any]:
        return {"model": self.model, "created_at": datetime.now(UTC).isoformat()}


def whole(said: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """The answer to a request that does not stream."""
    answer.learn(said)
    if "choices" not in said:
        return {**answer.line(said.get("content") or ""), **answer.counts()}
    choice = said["choices"][0]
    message = choice.get("message") or {"content": choice.get("text")}
    calls = [_call(call["function"]) for call in message.get("tool_calls") or ()]
    line = answer.line(message.get("content") or "", message.get("reasoning_content") or "", calls)
    return {**line, **answer.counts()}


def embeddings(said: dict[str, Any], model: str, began: float, *, old: bool) -> dict[str, Any]:
    """The answer of /api/embed, or of the ``old`` /api/embeddings (the first vector alone)."""
    vectors = [item["embedding"] for item in said["data"]]
    if old:
        return {"embedding": vectors[0] if vectors else []}
    return {
        "model": model,
        "embeddings": vectors,
        "total_duration": int((time.monotonic() - began) * 1e9),
        "load_duration": 0,
        "prompt_eval_count": (said.get("usage") or {}).get("prompt_tokens") or 0,
    }


class Lines(EventStream):
    """The engine's events as Ollama's lines.

    A tool call is told when it is whole: Ollama's arguments are an object, not pieces of text.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self._answer = answer
        self._calls: dict[int, dict[str, str]] = {}
        self._ended = False

    def finish(self) -> bytes:
        made = super().finish()
        if self._ended:
            return made
        if self._answer.finish is None:
            return made + _line({"error": "the engine's stream ended early"})
        self._ended = True
        calls = [_call(call) for call in self._calls.values()]
        made += _line(self._answer.line("", calls=calls)) if calls else b""
        return made + _line({**self._answer.line(""), **self._answer.counts()})

    def event(self, data: bytes) -> bytes:
        if data == b"[DONE]" or self._ended:
            return b""
        said = orjson.loads(data)
        if "error" in said:
            self._ended = True
            return _line({"error": read_error(500, data)["message"]})
        self._answer.learn(said)
        if "choices" not in said:
            return self._text(said.get("content"), None)
        made = b""
        for choice in said["choices"]:
            delta = choice.get("delta") or {"content": choice.get("text")}
            for call in delta.get("tool_calls") or ():
                function = call.get("function") or {}
                known = self._calls.setdefault(call.get("index", 0), {"name": "", "arguments": ""})
                known["name"] += function.get("name") or ""
                known["arguments"] += function.get("arguments") or ""
            made += self._text(delta.get("content"), delta.get("reasoning_content"))
        return made

    def _text(self, text: str | None, thinking: str | None) -> bytes:
        if not text and not thinking:
            return b""
        return _line(self._answer.line(text or "", thinking or ""))


def _line(value: Mapping[str, Any]) -> bytes:
    return dumps(value) + b"\n"


def _call(function: Mapping[str, Any]) -> dict[str, Any]:
    try:
        arguments = loads(function.get("arguments") or "{}")
    except ValueError:  # cut by num_predict
        arguments = {}
    return {"function": {"name": function.get("name"), "arguments": arguments}}
