"""Members of Anthropic's Messages that llama.cpp gets wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from anthropic.types import RawContentBlockStartEvent

from local_ai_suite.gateway import mends

if TYPE_CHECKING:
    import httpx

SAME = mends.Target("local-chat", "local-chat")
TOOL = {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {}}}}
ASK = {"model": "local-chat", "max_tokens": 60, "stream": True}


def started(http: httpx.Client) -> dict[str, Any]:
    request = {**ASK, "messages": [{"role": "user", "content": "weather"}], "tools": [TOOL]}
    lines = http.post("/v1/messages", json=request).text.split("\n")
    found = [orjson.loads(x[6:]) for x in lines if x.startswith("data: ")]
    return next(event for event in found if event["type"] == "content_block_start")


def stopped(http: httpx.Client, *, stream: bool) -> str:
    messages = [{"role": "user", "content": "hi"}]
    request = {**ASK, "stream": stream, "messages": messages, "stop_sequences": ["scripted"]}
    return http.post("/v1/messages", json=request).text


def test_flaw_a_streamed_tool_use_begins_without_input(bare_http: httpx.Client) -> None:
    assert "input" not in started(bare_http)["content_block"]


def test_a_streamed_tool_use_begins_with_an_empty_input(mended_http: httpx.Client) -> None:
    event = RawContentBlockStartEvent.model_validate(started(mended_http))
    assert event.content_block.type == "tool_use"
    assert event.content_block.input == {}


@pytest.mark.parametrize("stream", [False, True])
def test_flaw_a_stop_sequence_is_not_the_reason(bare_http: httpx.Client, *, stream: bool) -> None:
    assert '"stop_reason":"stop_sequence"' not in stopped(bare_http, stream=stream)


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_sequence_is_the_reason(mended_http: httpx.Client, *, stream: bool) -> None:
    said = stopped(mended_http, stream=stream)
    assert '"stop_reason":"stop_sequence","stop_sequence":"scripted"' in said
    assert "end_turn" not in said


def test_a_request_without_tools_and_stops_is_passed_on() -> None:
    body = orjson.dumps({**ASK, "messages": [{"role": "user", "content": "hi"}]})
    assert mends.plan("/v1/messages", body, SAME) is None
