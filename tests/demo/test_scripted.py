"""The scripted model, through the real engine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local_ai_suite.demo import (
    DEFAULT,
    Call,
    Calls,
    Rule,
    Say,
    Script,
    build_scripted_gguf,
    write_scripted_gguf,
)
from local_ai_suite.demo.scripted import _Vocabulary
from local_ai_suite.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    import httpx


def _tool(name: str, *arguments: str) -> dict[str, Any]:
    """The engine's grammar holds the model to these arguments."""
    properties = {argument: {"type": "string"} for argument in arguments or ("city",)}
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def _ask(client: httpx.Client, messages: str | list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    body = {"messages": messages, "max_tokens": 200, **more}
    reply = client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    choice: dict[str, Any] = reply.json()["choices"][0]
    return choice


def test_says_its_default_text_and_stops(scripted: httpx.Client) -> None:
    choice = _ask(scripted, "Hi there")
    assert choice["message"]["content"] == "Hello from the scripted model."
    assert choice["finish_reason"] == "stop"


def test_a_trigger_chooses_the_text_at_any_temperature(scripted: httpx.Client) -> None:
    for seed in range(5):
        choice = _ask(scripted, "안녕하세요", temperature=1.5, seed=seed)
        assert choice["message"]["content"] == "안녕하세요! 무엇을 도와드릴까요?"


def test_a_tool_loop_calls_once_and_then_answers(scripted: httpx.Client) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "How is the weather today?"}]
    tools = [_tool("other"), _tool("get_weather")]
    choice = _ask(scripted, messages, tools=tools)
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Seoul"}
    messages += [
        choice["message"],
        {"role": "tool", "tool_call_id": call["id"], "content": "sunny"},
        {"role": "user", "content": [{"type": "text", "text": "<system-reminder>Go on."}]},
    ]
    for asked in (messages[:-1], messages):
        choice = _ask(scripted, asked, tools=tools)
        assert choice["message"]["content"] == "It is sunny in Seoul, 21 degrees."
        assert choice["finish_reason"] == "stop"


def test_calls_only_tools_that_are_offered(scripted: httpx.Client) -> None:
    for tools in ([], [_tool("other")]):
        choice = _ask(scripted, "How is the weather?", tools=tools)
        assert choice["message"]["content"] == "Hello from the scripted model."
        assert "tool_calls" not in choice["message"]


def test_an_old_trigger_is_forgotten_at_the_next_question(scripted: httpx.Client) -> None:
    history = [
        {"role": "user", "content": "How is the weather?"},
        {"role": "assistant", "content": "It is sunny."},
        {"role": "user", "content": "Thanks"},
    ]
    choice = _ask(scripted, history, tools=[_tool("get_weather")])
    assert choice["message"]["content"] == "Hello from the scripted model."


def test_streams_in_several_pieces(scripted: httpx.Client) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
    with scripted.stream("POST", "/v1/chat/completions", json=body) as reply:
        events = [line[6:] for line in reply.iter_lines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    deltas = [c["delta"] for e in events[:-1] for c in json.loads(e)["choices"]]
    pieces = [text for delta in deltas if (text := delta.get("content"))]
    assert "".join(pieces) == "Hello from the scripted model."
    assert len(pieces) >= 3


def test_goes_on_forever_when_told_to(scripted: httpx.Client) -> None:
    choice = _ask(scripted, "go on forever", max_tokens=300)
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"].startswith("tick tock, the clock goes on, tick tock, ")


def test_a_long_prompt_with_forty_tools_is_quick_enough(scripted: httpx.Client) -> None:
    tools = [_tool(f"tool_{n}") for n in range(40)] + [_tool("get_weather")]
    system = {"role": "system", "content": "Use the tools to read the file and edit it.\n" * 1000}
    messages = [system, {"role": "user", "content": "weather, please"}]
    choice = _ask(scripted, messages, tools=tools)
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "get_weather"


def test_completes_and_fills_in(scripted: httpx.Client) -> None:
    reply = scripted.post("/v1/completions", json={"prompt": "Once upon", "max_tokens": 50})
    assert reply.json()["choices"][0]["text"] == " and so the text goes on."
    body = {"input_prefix": "def add(a, b):\n    ", "input_suffix": "\n", "n_predict": 50}
    assert scripted.post("/infill", json=body).json()["content"] == "return a + b"


def test_a_rule_may_call_several_tools_and_take_several_turns(
    tmp_path: Path, serve: Callable[..., AbstractContextManager[httpx.Client]]
) -> None:
    both = Calls((Call("read", {"path": "a.txt"}), Call("read", {"path": "b.txt"})), "Let me look.")
    rule = Rule("{%- go -%}", (both, Call("write", {"path": "c.txt", "text": "{}"}), Say("Done.")))
    path = write_scripted_gguf(tmp_path / "s.gguf", Script(rules=(rule,)))
    tools = [_tool("read", "path"), _tool("write", "path", "text")]
    messages: list[dict[str, Any]] = [{"role": "user", "content": "now {%- go -%}"}]
    seen = []
    with serve(path) as client:
        for _ in range(3):
            message = _ask(client, messages, tools=tools)["message"]
            calls = message.get("tool_calls", [])
            seen.append((message["content"], [c["function"]["arguments"] for c in calls]))
            messages.append(message)
            messages += [{"role": "tool", "tool_call_id": c["id"], "content": "ok"} for c in calls]
    assert seen == [
        ("Let me look.\n", ['{"path": "a.txt"}', '{"path": "b.txt"}']),
        ("", ['{"path": "c.txt", "text": "{}"}']),
        ("Done.", []),
    ]


def test_equal_scripts_give_equal_bytes() -> None:
    assert build_scripted_gguf() == build_scripted_gguf(DEFAULT)


def test_every_text_is_cut_into_tokens_of_its_own() -> None:
    says = ["description", "ab", "abab", "aaaa aaaa aaaa aaaa", "the the the", "가나다라 가나다라"]
    script = Script(rules=tuple(Rule(f"t{n}", (Say(text),)) for n, text in enumerate(says)))
    vocabulary = _Vocabulary(script)
    assert len(set(vocabulary.tokens)) == len(vocabulary.tokens)


def test_a_text_of_one_byte_is_refused() -> None:
    with pytest.raises(ModelError, match="two bytes"):
        build_scripted_gguf(Script(default=Say("a")))
