"""What needs no translation passes byte for byte, and no request makes a translation fail."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from translating_transport import OTHER, SAME, asked, is_untouched

from local_ai_suite.gateway.protocols import Target
from local_ai_suite.gateway.protocols.errors import Refused

CHAT = "/v1/chat/completions"
ROUTES = [
    CHAT, "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings",
    "/api/chat", "/api/generate", "/api/embed",
]  # fmt: skip


@pytest.mark.parametrize(
    ("route", "request_"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "hi"}], "tools": [], "n": 2}),
        (CHAT, {"messages": [], "tool_choice": "auto", "stream": True}),
        ("/v1/completions", {"prompt": "x", "suffix": ""}),
        ("/v1/embeddings", {"input": "x"}),
        ("/infill", {"input_prefix": "x"}),
    ],
)
def test_an_ordinary_request_passes_byte_for_byte(route: str, request_: dict[str, Any]) -> None:
    body = orjson.dumps({"model": "local-chat", **request_}, option=orjson.OPT_INDENT_2)
    assert is_untouched(asked(route, body), body)


@pytest.mark.parametrize("stream", [True, False, None])
def test_only_the_requests_own_stream_member_counts(stream: object) -> None:
    """A tool's input in the history may hold one too."""
    inner = {"type": "tool_use", "name": "f", "id": "x", "input": {"stream": not stream}}
    messages = [{"role": "assistant", "content": [inner]}]
    found = asked(CHAT, orjson.dumps({"model": "m", "messages": messages, "stream": stream}))
    assert found.streams is (stream is True)


@pytest.mark.parametrize("number", [2**63, 2**64 + 1, -(10**30)])
@pytest.mark.parametrize("route", [CHAT, "/v1/responses", "/v1/messages", "/api/chat"])
def test_an_integer_of_any_size_keeps_its_digits_through_every_translation(
    route: str, number: int
) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "const": number}}}
    function = {"name": "f", "description": None, "parameters": schema}
    request = {
        "model": "gpt-4o",
        "input": "x",
        "messages": [{"role": "user", "content": "x"}],
        "tools": [{"type": "function", "function": function, **function, "input_schema": schema}],
        "tool_choice": {"type": "tool", "name": "f"} if route == "/v1/messages" else "auto",
    }
    found = asked(route, json.dumps(request).encode(), OTHER)
    assert json.dumps(number).encode() in found.body()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
KEYS = [
    "messages", "tools", "tool_choice", "prompt", "suffix", "n", "best_of", "logprobs", "echo",
    "input", "instructions", "include", "text", "reasoning", "stream", "stream_options", "options",
    "metadata", "format", "think", "images", "system", "raw", "template",
]  # fmt: skip
SHAPED = st.sampled_from(
    [
        {"type": "function", "function": {"name": "f"}},
        [{"type": "function", "function": {"name": "f"}}],
        {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": 3}},
        [{"type": "namespace", "tools": [{"type": "function"}, 3]}, {"type": "custom"}],
        [{"role": "user", "content": [{"type": "input_text"}]}],
        [{"type": "message", "role": "assistant", "content": [{"type": "refusal"}]}],
        [{"type": "reasoning", "content": [1]}, {"type": "function_call"}],
        [{"role": "assistant", "tool_calls": [{"function": {"arguments": 3}}]}],
        {"format": {"type": "json_schema"}},
        "required",
        "x",
        1,
        True,
    ]
)


@given(
    st.sampled_from(ROUTES),
    st.dictionaries(st.sampled_from(KEYS), JSON | SHAPED, max_size=8),
    st.sampled_from([SAME, OTHER]),
)
def test_no_request_makes_a_translation_fail(
    route: str, request_: dict[str, Any], target: Target
) -> None:
    body = orjson.dumps({"model": target.public, **request_})
    try:
        found = asked(route, body, target)
    except Refused:
        return
    if found.reply is None:  # Ollama's "load this model"
        assert orjson.loads(found.body())["model"] == "local-chat"
