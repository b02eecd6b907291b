"""Cursor's two request shapes, through the real gateway and engine.

Cursor cannot run here: its own servers make the calls. The bodies are of the shapes that LiteLLM
(litellm#34029) and codex-proxy (#708) saw and handle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import client_corpus
from client_script import HELLO, PATCH, WRITTEN

if TYPE_CHECKING:
    import httpx

URL = "/cursor/chat/completions"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FLAT = {"type": "function", "name": "get_weather", "description": "The weather",
        "parameters": CITY, "strict": False}  # fmt: skip
NESTED = {"type": "function", "function": {"name": "get_weather", "parameters": CITY}}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
PATCHES = {"type": "custom", "name": "ApplyPatch", "description": "A patch", "format": GRAMMAR}
NESTED_PATCHES = {
    "type": "custom",
    "custom": {"name": "ApplyPatch", "format": {"type": "grammar", "grammar": GRAMMAR}},
}


def agent(text: str, *more: dict[str, Any]) -> dict[str, Any]:
    """Agent mode: a Responses body, with what only chat completions know beside it."""
    system = {"role": "system", "content": "You are an AI coding assistant, powered by local-chat."}
    user = {"role": "user", "content": [{"type": "input_text", "text": text}]}
    return {
        "model": "local-chat",
        "user": "google-oauth2|1",
        "input": [system, user, *more],
        "messages": None,
        "tools": [FLAT, PATCHES],
        "tool_choice": "auto",
        "reasoning": {"effort": "medium", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "text": {"verbosity": "low"},
        "store": False,
        "stream_options": {"include_usage": True},
        "metadata": {"cursorConversationId": "x"},
    }


def ask(text: str, *more: dict[str, Any]) -> dict[str, Any]:
    """Ask mode: a chat body whose tools have both protocols' shapes."""
    return {
        "model": "local-chat",
        "messages": [{"role": "user", "content": text}, *more],
        "tools": [NESTED, NESTED_PATCHES],
        "tool_choice": "auto",
        "stream_options": {"include_usage": True},
        "user": "google-oauth2|1",
    }


def said(gateway: httpx.Client, body: dict[str, Any], *, stream: bool) -> dict[str, Any]:
    body = {**body, "stream": stream}
    if not stream:
        body.pop("stream_options")
    answer = gateway.post(URL, json=body)
    kind = answer.headers["content-type"]
    found = client_corpus.summary(answer.status_code, kind, answer.content)
    assert found["status"] == 200, answer.text
    assert found["form"] == ("stream" if stream else "json")
    assert found.pop("usage", True)
    return found


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("mode", [agent, ask])
def test_both_shapes_get_chat_completions(gateway: httpx.Client, mode: Any, stream: bool) -> None:
    found = said(gateway, mode("Hello"), stream=stream)
    assert (found["text"], found["calls"]) == (HELLO, [])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("mode", [agent, ask])
def test_a_function_is_called(gateway: httpx.Client, mode: Any, stream: bool) -> None:
    found = said(gateway, mode("the weather?"), stream=stream)
    assert found["calls"] == [["get_weather", {"city": "Seoul"}]]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("mode", [agent, ask])
def test_a_custom_tools_text_comes_as_it_is(gateway: httpx.Client, mode: Any, stream: bool) -> None:
    found = said(gateway, mode("patch it with cursor"), stream=stream)
    assert found["calls"] == [["ApplyPatch", PATCH]]
    assert found["end"] == "tool_calls"


def test_the_second_turn_brings_the_text_back(gateway: httpx.Client) -> None:
    call = {"id": "call_1", "type": "function",
            "function": {"name": "ApplyPatch", "arguments": PATCH}}  # fmt: skip
    turns = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Done."},
    ]
    found = said(gateway, ask("patch it with cursor", *turns), stream=True)
    assert found["text"] == WRITTEN
    own = {"type": "custom", "id": "call_1", "custom": {"name": "ApplyPatch", "input": PATCH}}
    turns[0]["tool_calls"] = [own]
    assert said(gateway, ask("patch it with cursor", *turns), stream=False)["text"] == WRITTEN
    items = [
        {"type": "function_call", "call_id": "call_1", "name": "ApplyPatch", "arguments": PATCH},
        {"type": "function_call_output", "call_id": "call_1", "output": "Done."},
    ]
    assert said(gateway, agent("patch it with cursor", *items), stream=True)["text"] == WRITTEN


def test_a_choice_of_a_tool_that_is_not_there_is_refused(gateway: httpx.Client) -> None:
    body = {**ask("Hello"), "tool_choice": {"type": "function", "function": {"name": "nothing"}}}
    refused = gateway.post(URL, json=body)
    assert refused.status_code == 400
    assert "nothing" in refused.json()["error"]["message"]


def test_the_key_is_verified_against_a_list_of_models(gateway: httpx.Client) -> None:
    listed = gateway.get("/cursor/models")
    assert listed.status_code == 200
    assert listed.json() == gateway.get("/v1/models").json()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, "'input' must be"),
        ({"messages": 1}, "neither"),
        ({"input": "Hello", "tools": 1}, "neither"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"type": "custom"}]}]}, "custom"),
        ({"input": [1]}, "input[0]"),
        ({"input": "Hello", "previous_response_id": "x"}, "nothing is stored"),
    ],
)
def test_what_it_cannot_read_is_said(gateway: httpx.Client, more: Any, told: str) -> None:
    refused = gateway.post(URL, json={"model": "local-chat", **more})
    assert refused.status_code == 400, refused.text
    assert told in refused.json()["error"]["message"]


@pytest.mark.parametrize("name", ["local-code", "qwen2.5-coder"])
def test_another_public_name_is_given_back(gateway: httpx.Client, name: str) -> None:
    whole = gateway.post(URL, json={**agent("Hello"), "model": name}).json()
    assert (whole["model"], whole["object"]) == (name, "chat.completion")
    streamed = gateway.post(URL, json={**ask("Hello"), "model": name, "stream": True}).text
    assert f'"model":"{name}"' in streamed
    assert streamed.rstrip().endswith("[DONE]")
