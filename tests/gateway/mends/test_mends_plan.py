"""The registry: what needs no mend is not parsed, and no request makes it fail."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_ai_suite.gateway import mends

CHAT = "/v1/chat/completions"
ROUTES = [
    CHAT, "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings",
    "/api/chat", "/api/generate", "/api/embed",
]  # fmt: skip
SAME = mends.Target("local-chat", "local-chat")
OTHER = mends.Target("gpt-4o", "local-chat")


@pytest.mark.parametrize(
    ("route", "request_"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "hi"}], "tools": [], "n": 2}),
        (CHAT, {"messages": [], "tool_choice": "auto", "stream": True}),
        ("/v1/completions", {"prompt": "x", "suffix": ""}),
        ("/v1/embeddings", {"input": "x"}),
        ("/v1/messages", {"messages": []}),
        ("/infill", {"input_prefix": "x"}),
    ],
)
def test_an_ordinary_request_is_passed_on_unparsed(
    route: str, request_: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def parsed(text: bytes) -> None:
        raise AssertionError(f"parsed: {text!r}")

    body = orjson.dumps({"model": "local-chat", **request_})
    for module in ("rename", "forced_tool", "fim_suffix", "responses"):
        monkeypatch.setattr(f"local_ai_suite.gateway.mends.{module}.orjson.loads", parsed)
    assert mends.plan(route, body, SAME) is None


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
def test_no_request_makes_the_plan_fail(
    route: str, request_: dict[str, Any], target: mends.Target
) -> None:
    body = orjson.dumps({"model": target.public, **request_})
    plan = mends.plan(route, body, target)
    if isinstance(plan, mends.Mend):
        assert orjson.loads(plan.body)["model"] == "local-chat"
    elif plan is not None and plan.status != 200:  # 200 is Ollama's "load"
        assert 400 <= plan.status < 500
        assert orjson.loads(plan.body)["error"]
