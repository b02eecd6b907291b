"""Members of Anthropic's Messages that llama.cpp gets wrong."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest
from anthropic.types import RawContentBlockStartEvent, RawMessageStartEvent
from hypothesis import given
from hypothesis import strategies as st
from translating_transport import asked, is_untouched

from gateway_running import running
from local_ai_suite.demo import demo_model_path
from scripted_engine import Engine, engine

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def test_a_streamed_tool_use_begins_with_an_empty_input(translated_http: httpx.Client) -> None:
    event = RawContentBlockStartEvent.model_validate(started(translated_http))
    assert event.content_block.type == "tool_use"
    assert event.content_block.input == {}


@pytest.mark.parametrize("stream", [False, True])
def test_flaw_a_stop_sequence_is_not_the_reason(bare_http: httpx.Client, *, stream: bool) -> None:
    assert '"stop_reason":"stop_sequence"' not in stopped(bare_http, stream=stream)


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_sequence_is_the_reason(translated_http: httpx.Client, *, stream: bool) -> None:
    said = stopped(translated_http, stream=stream)
    assert '"stop_reason":"stop_sequence","stop_sequence":"scripted"' in said
    assert "end_turn" not in said


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_without_tools_and_stops_is_passed_on(*, stream: bool) -> None:
    messages = [{"role": "user", "content": "hi"}]
    body = orjson.dumps({**ASK, "stream": stream, "messages": messages})
    found = asked("/v1/messages", body)
    assert found.body() is body
    assert not is_untouched(found, body), "the answer's id is Anthropic's"


START = b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n'
DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0}\n\n'
END = b'event: message_delta\ndata: {"type":"message_delta"}\n\n'
PING = b'event: ping\ndata: {"type":"ping"}\n\n'


def through(text: bytes, cuts: list[int]) -> bytes:
    body = orjson.dumps({**ASK, "messages": []})
    stream = asked("/v1/messages", body).stream()
    assert stream is not None
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return b"".join(stream.feed(text[a:b]) for a, b in itertools.pairwise(edges)) + stream.finish()


@given(st.lists(st.integers(0, 250), max_size=8))
def test_a_stream_that_begins_as_it_should_passes_byte_for_byte(cuts: list[int]) -> None:
    assert through(START + DELTA + END, cuts) == START + DELTA + END
    assert through(PING + START + DELTA + END, cuts) == PING + START + DELTA + END


@given(st.lists(st.integers(0, 250), max_size=8), st.sampled_from([b"", PING]))
def test_a_stream_whose_beginning_the_engine_forgot_gets_one(cuts: list[int], ping: bytes) -> None:
    said = through(ping + DELTA + END, cuts)
    start, rest = said.removeprefix(ping).split(b"\n\n", 1)
    assert rest == DELTA + END
    event = RawMessageStartEvent.model_validate_json(start.split(b"data: ")[1])
    assert event.message.model == "local-chat"


def test_an_error_alone_gets_no_beginning() -> None:
    error = b'event: error\ndata: {"type":"error"}\n\n'
    assert through(error, []) == error


@pytest.fixture(scope="module")
def trained() -> Iterator[Engine]:
    """A model that writes characters byte by byte."""
    model = demo_model_path()
    assert model is not None
    with engine(model, context=2048, slots=1) as found:
        yield found


def test_flaw_a_first_token_that_is_half_a_character_has_no_beginning_and_here_it_has_one(
    trained: Engine,
) -> None:
    def ask(url: str, seed: int) -> str:
        wild = {"temperature": 3.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "seed": seed}
        messages = [{"role": "user", "content": "say \uc00d"}]
        request = {**ASK, "max_tokens": 6, "messages": messages, **wild}
        return httpx.post(f"{url}/v1/messages", json=request, timeout=30).text

    first = "event: message_start\n"
    seeds = (seed for seed in range(200) if not ask(trained.url, seed).startswith(first))
    seed = next(seeds, None)
    assert seed is not None, "llama.cpp sends message_start now: the translation can go"
    with running(trained.url) as served:
        said = ask(served.url, seed)
    assert said.startswith(first)
    assert said.count(first) == 1
    assert "event: content_block_delta\n" in said
