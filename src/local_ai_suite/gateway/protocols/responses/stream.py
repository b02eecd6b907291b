"""A chat completion stream as the events of a response stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from local_ai_suite.gateway.protocols.errors import read_error
from local_ai_suite.gateway.protocols.events import EventStream, named_event

from .items import Call, Message, Thought

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .answer import ResponseShape
    from .items import Events, Item


class ResponseStream(EventStream):
    """A chat completion stream in, a response stream out.

    At most one item is open at a time: thoughts, then text, then each tool call.
    """

    def __init__(self, shape: ResponseShape) -> None:
        super().__init__()
        self._shape = shape
        self._number = 0
        self._output: list[dict[str, Any]] = []
        self._open: Item | None = None
        self._call_index = 0
        self._usage: Mapping[str, Any] = {}
        self._finish: str | None = None
        self._begun = False
        self._ended = False

    def finish(self) -> bytes:
        made = super().finish()
        if self._ended:
            return made
        if self._finish is None:
            return made + self.fail({"message": "the engine's stream ended early"})
        return made + self._end()

    def fail(self, error: Mapping[str, Any]) -> bytes:
        if self._ended:
            return b""
        made = self._begin()
        self._ended = True
        return made + self._say(
            "response.failed", {"response": self._shape.failed(self._output, error)}
        )

    def event(self, data: bytes) -> bytes:
        if self._ended:
            return b""
        if data == b"[DONE]":
            return self.finish() if self._finish is not None else b""
        chunk = orjson.loads(data)
        if "error" in chunk:
            return self.fail(read_error(500, data))
        made = self._begin()
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices") or ():
            if choice.get("index", 0) == 0:
                made += self._delta(choice.get("delta") or {}, choice.get("logprobs"))
                self._finish = choice.get("finish_reason") or self._finish
        return made

    def _begin(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        begun = {"response": self._shape.begun()}
        return self._say("response.created", begun) + self._say("response.in_progress", begun)

    def _delta(self, delta: Mapping[str, Any], logprobs: Mapping[str, Any] | None) -> bytes:
        shape, made = self._shape, b""
        if thought := delta.get("reasoning_content"):
            if not isinstance(self._open, Thought):
                made += self._start(Thought(shape.new_id))
            made += self._more(thought, [])
        if text := delta.get("content"):
            if not isinstance(self._open, Message):
                made += self._start(Message(shape.new_id))
            made += self._more(text, (logprobs or {}).get("content") or [])
        for call in delta.get("tool_calls") or ():
            function, index = call.get("function") or {}, call.get("index", 0)
            if not isinstance(self._open, Call) or self._call_index != index:
                self._call_index = index
                name = str(function.get("name") or "")
                made += self._start(Call(shape.new_id, shape.names, name, call.get("id")))
            if arguments := function.get("arguments"):
                made += self._more(arguments, [])
        return made

    def _start(self, item: Item) -> bytes:
        made = self._close()
        self._open = item
        return made + self._tell(item.start())

    def _more(self, text: str, logprobs: list[dict[str, Any]]) -> bytes:
        item = self._open
        return self._tell(item.more(text, logprobs)) if item else b""

    def _close(self) -> bytes:
        item, self._open = self._open, None
        if item is None:
            return b""
        made = self._tell(item.end(complete=self._finish != "length"))
        self._output.append(item.whole)
        return made

    def _end(self) -> bytes:
        made = self._begin() + self._close()
        self._ended = True
        response = self._shape.ended(self._output, self._usage, self._finish)
        return made + self._say(f"response.{response['status']}", {"response": response})

    def _tell(self, events: Events) -> bytes:
        index = len(self._output)
        return b"".join(self._say(name, {"output_index": index, **body}) for name, body in events)

    def _say(self, name: str, body: dict[str, Any]) -> bytes:
        number, self._number = self._number, self._number + 1
        return named_event(name, {"type": name, "sequence_number": number, **body})
