"""A conversation that is rewritten at every turn still finds its prompt in the engine's cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cells import suite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

TURNS = 10
# What the next turn cannot share: the mark that opens the assistant's turn, and what it thinks.
OPENING = 24
LONG = "A coding assistant reads files, edits them and tells what it did. " * 20


def turns_of_claude_code() -> Iterator[list[dict[str, Any]]]:
    """/v1/messages, as Claude Code grows it: a tool's result with a reminder beside it, and a
    system message in the middle."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Read the files."}]
    for number in range(TURNS):
        yield messages
        call = f"toolu_{number:024d}"
        messages = [
            *messages,
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": call, "name": "read", "input": {"path": f"f{number}"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": call, "content": f"Contents {number}."},
                {"type": "text", "text": f"Reminder {number}."},
            ]},
            {"role": "system", "content": f"The mode is now {number}."},
        ]  # fmt: skip


def turns_of_cline() -> Iterator[list[dict[str, Any]]]:
    """Chat completions, as Cline grows them: two user turns after each answer."""
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": LONG},
        {"role": "user", "content": "Read the files."},
        {"role": "user", "content": "The environment."},
    ]
    for number in range(TURNS):
        yield messages
        messages = [
            *messages,
            {"role": "assistant", "content": f"I have read file {number}."},
            {"role": "user", "content": f"Result {number}."},
            {"role": "user", "content": f"The environment after {number}."},
        ]


@pytest.mark.parametrize("name", ["Qwen3.5-4B", "mistralai-Ministral-3-14B-Reasoning-2512"])
def test_ten_turns_of_claude_code_are_read_from_the_cache(
    name: str, sources: Path, tmp_path: Path
) -> None:
    tool = {"name": "read", "description": "Reads.", "input_schema": {"type": "object"}}
    with suite(tmp_path, [name]) as client:
        bodies = [
            {"model": name, "max_tokens": 8, "system": LONG, "tools": [tool], "messages": messages}
            for messages in turns_of_claude_code()
        ]
        answers = [posted(client, "/v1/messages", body) for body in bodies]
    assert all("x-lais-translated" in headers for _, headers in answers[1:])
    usages = [body["usage"] for body, _ in answers]
    prompts = [usage["input_tokens"] + usage["cache_read_input_tokens"] for usage in usages]
    found_again(prompts, [usage["cache_read_input_tokens"] for usage in usages])


@pytest.mark.parametrize(
    "name", ["google-gemma-2-2b-it", "mistralai-Ministral-3-14B-Reasoning-2512"]
)
def test_ten_turns_of_cline_are_read_from_the_cache(
    name: str, sources: Path, tmp_path: Path
) -> None:
    with suite(tmp_path, [name]) as client:
        answers = [
            posted(client, "/v1/chat/completions",
                   {"model": name, "max_tokens": 8, "messages": messages})
            for messages in turns_of_cline()
        ]  # fmt: skip
    assert all("joined-turns" in headers["x-lais-translated"] for _, headers in answers)
    prompts = [body["usage"]["prompt_tokens"] for body, _ in answers]
    cached = [body["usage"]["prompt_tokens_details"]["cached_tokens"] for body, _ in answers]
    found_again(prompts, cached)


def posted(client: httpx.Client, path: str, body: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json(), answer.headers


def found_again(prompts: list[int], cached: list[int]) -> None:
    """Of each prompt at least what the one before it held comes from the cache."""
    assert len(prompts) == TURNS
    assert prompts == sorted(prompts)
    for before, now in zip(prompts, cached[1:], strict=False):
        assert now >= before - OPENING
