"""A Responses request's input as items with ids, as they are kept and listed.

The shapes are those of the OpenAI SDKs' ``types.responses.ResponseItem`` (2.54).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .answer import random_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PREFIXES = {
    "message": "msg", "reasoning": "rs", "function_call": "fc", "function_call_output": "fco",
    "custom_tool_call": "ctc", "custom_tool_call_output": "ctco",
}  # fmt: skip


def input_items(
    request: Mapping[str, Any], new_id: Callable[[str], str] = random_id
) -> list[dict[str, Any]]:
    """The items of ``request["input"]``; none where it has another shape: that is refused later."""
    said = request.get("input")
    if isinstance(said, str):
        said = [{"role": "user", "content": said}]
    if not isinstance(said, list):
        return []
    return [_item(item, new_id) for item in said if isinstance(item, dict)]


def referenced(item: Any) -> str | None:
    """The id of the item that an ``item_reference`` stands for; ``None`` for any other item."""
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        return None
    bare = item.get("type") is None and "role" not in item
    return item["id"] if bare or item.get("type") == "item_reference" else None


def _item(item: dict[str, Any], new_id: Callable[[str], str]) -> dict[str, Any]:
    kind = item.get("type") or "message"
    made = {**item, "type": kind}
    if not isinstance(item.get("id"), str):
        made["id"] = new_id(_PREFIXES.get(kind, "item"))
    if kind != "message":
        return made
    made.setdefault("status", "completed")
    if isinstance(text := item.get("content"), str):
        part: dict[str, Any] = {"type": "input_text", "text": text}
        if item.get("role") == "assistant":
            part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        made["content"] = [part]
    return made
