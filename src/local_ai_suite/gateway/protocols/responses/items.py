"""The items of a response's output: each by its events, and as a whole.

The shapes are those of the OpenAI SDKs' ``types.responses`` (2.54).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .request import ToolName

Events = list[tuple[str, dict[str, Any]]]
Logprobs = list[dict[str, Any]]


class Item(Protocol):
    """One output item: its events without ``output_index``; ``whole`` once it has ended."""

    whole: dict[str, Any]

    def start(self) -> Events:
        """The events that open it."""
        ...

    def more(self, text: str, logprobs: Logprobs) -> Events:
        """The events for its next piece of text."""
        ...

    def end(self, *, complete: bool) -> Events:
        """The events that close it; not ``complete`` when max_output_tokens cut it."""
        ...


class Thought:
    """What the model thought before it answered."""

    def __init__(self, new_id: Callable[[str], str]) -> None:
        self._text: list[str] = []
        self._at = {"item_id": new_id("rs"), "content_index": 0}
        self.whole = self._as_item([])

    def start(self) -> Events:
        return [
            ("response.output_item.added", {"item": self.whole}),
            ("response.content_part.added", {**self._at, "part": _thought_part("")}),
        ]

    def more(self, text: str, logprobs: Logprobs) -> Events:  # noqa: ARG002
        self._text.append(text)
        return [("response.reasoning_text.delta", {**self._at, "delta": text})]

    def end(self, *, complete: bool) -> Events:
        text = "".join(self._text)
        part = _thought_part(text)
        self.whole = self._as_item([part], "completed" if complete else "incomplete")
        return [
            ("response.reasoning_text.done", {**self._at, "text": text}),
            ("response.content_part.done", {**self._at, "part": part}),
            ("response.output_item.done", {"item": self.whole}),
        ]

    def _as_item(
        self, content: list[dict[str, Any]], status: str = "in_progress"
    ) -> dict[str, Any]:
        item = {"type": "reasoning", "id": self._at["item_id"], "summary": [], "status": status}
        return {**item, "content": content}


class Message:
    """What the model said."""

    def __init__(self, new_id: Callable[[str], str]) -> None:
        self._text: list[str] = []
        self._logprobs: Logprobs = []
        self._at = {"item_id": new_id("msg"), "content_index": 0}
        self.whole = self._as_item([], "in_progress")

    def start(self) -> Events:
        return [
            ("response.output_item.added", {"item": self.whole}),
            ("response.content_part.added", {**self._at, "part": _text_part("", [])}),
        ]

    def more(self, text: str, logprobs: Logprobs) -> Events:
        self._text.append(text)
        self._logprobs += logprobs
        return [("response.output_text.delta", {**self._at, "delta": text, "logprobs": logprobs})]

    def end(self, *, complete: bool) -> Events:
        text = "".join(self._text)
        part = _text_part(text, self._logprobs)
        self.whole = self._as_item([part], "completed" if complete else "incomplete")
        return [
            ("response.output_text.done", {**self._at, "text": text, "logprobs": self._logprobs}),
            ("response.content_part.done", {**self._at, "part": part}),
            ("response.output_item.done", {"item": self.whole}),
        ]

    def _as_item(self, content: list[dict[str, Any]], status: str) -> dict[str, Any]:
        item = {"type": "message", "id": self._at["item_id"], "role": "assistant"}
        return {**item, "status": status, "content": content}


class Call:
    """A call of a function, of a namespace's function, or of a custom tool."""

    def __init__(
        self,
        new_id: Callable[[str], str],
        names: Mapping[str, ToolName],
        flat: str,
        call_id: str | None,
    ) -> None:
        self._flat, self._tool = flat, names.get(flat)
        self._custom = self._tool is not None and self._tool.custom
        self._id = new_id("ctc" if self._custom else "fc")
        self._call_id = call_id or new_id("call")
        self._arguments: list[str] = []
        self.whole = self._as_item("in_progress")

    def start(self) -> Events:
        return [("response.output_item.added", {"item": self.whole})]

    def more(self, text: str, logprobs: Logprobs) -> Events:  # noqa: ARG002
        self._arguments.append(text)
        if self._custom:  # its input lies inside the arguments and is told when it is whole
            return []
        delta = {"item_id": self._id, "delta": text}
        return [("response.function_call_arguments.delta", delta)]

    def end(self, *, complete: bool) -> Events:
        self.whole = self._as_item("completed" if complete else "incomplete")
        done = ("response.output_item.done", {"item": self.whole})
        at = {"item_id": self._id}
        if self._custom:
            said = self.whole["input"]
            return [
                ("response.custom_tool_call_input.delta", {**at, "delta": said}),
                ("response.custom_tool_call_input.done", {**at, "input": said}),
                done,
            ]
        arguments = {"name": self.whole["name"], "arguments": self.whole["arguments"]}
        return [("response.function_call_arguments.done", {**at, **arguments}), done]

    def _as_item(self, status: str) -> dict[str, Any]:
        tool, arguments = self._tool, "".join(self._arguments)
        item: dict[str, Any] = {"id": self._id, "call_id": self._call_id, "status": status}
        item["name"] = tool.name if tool else self._flat
        if self._custom:
            return {"type": "custom_tool_call", **item, "input": _custom_input(arguments)}
        if tool and tool.namespace:
            item["namespace"] = tool.namespace
        return {"type": "function_call", **item, "arguments": arguments}


def _thought_part(text: str) -> dict[str, Any]:
    return {"type": "reasoning_text", "text": text}


def _text_part(text: str, logprobs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": list(logprobs)}


def _custom_input(arguments: str) -> str:
    try:
        said = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    return str(said["input"]) if isinstance(said, dict) and "input" in said else arguments
