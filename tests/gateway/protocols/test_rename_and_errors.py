"""A public name that differs from the engine's, and errors in the caller's envelope."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from translating_transport import OTHER, asked, error_of, is_untouched

from local_ai_suite.gateway.protocols.events import EventReader

if TYPE_CHECKING:
    import httpx

CHAT = "/v1/chat/completions"
OVERFLOW = (
    b'{"error":{"code":400,"message":"request (27014 tokens) exceeds the available context size '
    b'(2048 tokens), try increasing it","type":"exceed_context_size_error",'
    b'"n_prompt_tokens":27014,"n_ctx":2048}}'
)


def test_a_request_under_the_engines_own_name_passes_as_it_is() -> None:
    body = b'{"model":"local-chat","messages":[]}'
    assert is_untouched(asked(CHAT, body), body)


def test_only_the_name_changes_in_the_request() -> None:
    body = (
        b'{ "messages" : [{"role":"user","content":"\\"model\\":\\"gpt-4o\\""}],"model" :"gpt-4o"}'
    )
    found = asked(CHAT, body, OTHER)
    assert found.body() == body.replace(b'"model" :"gpt-4o"', b'"model" :"local-chat"')


def test_a_member_called_model_inside_the_request_is_left_alone() -> None:
    body = b'{"metadata":{"model":"gpt-4o"},"model":"gpt-4o"}'
    found = asked(CHAT, body, OTHER)
    assert orjson.loads(found.body()) == {"metadata": {"model": "gpt-4o"}, "model": "local-chat"}


def test_only_the_name_changes_in_the_answer() -> None:
    found = asked(CHAT, b'{"model":"gpt-4o"}', OTHER)
    answer = b'{"choices":[{"text":"\\"model\\":\\"local-chat\\""}], "x":1.50,"model":"local-chat"}'
    assert found.answer(answer) == answer.replace(b'},"model":"l', b'}, "model":"l').replace(
        b'"model":"local-chat"}', b'"model":"gpt-4o"}'
    )


def test_a_tools_input_in_the_answer_keeps_its_own_member_called_model() -> None:
    found = asked("/v1/messages", b'{"model":"gpt-4o"}', OTHER)
    answer = {"content": [{"input": {"model": "local-chat"}}], "model": "local-chat"}
    said = orjson.loads(found.answer(orjson.dumps(answer)))
    assert said == {"content": [{"input": {"model": "local-chat"}}], "model": "gpt-4o"}


STREAM = (
    'data: {"choices":[{"delta":{"content":"안녕 \\"model\\":\\"local-chat\\""}}],'
    '"model":"local-chat"}\n\ndata: {"model":"local-chat","x":"\\"mod"}\n\ndata: [DONE]\n\n'
).encode()


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_a_stream_may_be_cut_anywhere(cuts: list[int]) -> None:
    found = asked(CHAT, b'{"model":"gpt-4o","stream":true}', OTHER)
    assert found.streams
    stream = found.stream()
    edges = [0, *sorted(cuts), len(STREAM)]
    said = b"".join(stream.feed(STREAM[a:b]) for a, b in itertools.pairwise(edges))
    assert said + stream.finish() == STREAM.replace(b'"model":"local-chat"', b'"model":"gpt-4o"')


def test_a_whole_event_is_never_held_back() -> None:
    found = asked(CHAT, b'{"model":"gpt-4o","stream":true}', OTHER)
    event = b'data: {"model":"local-chat"}\n\n'
    assert found.stream().feed(event) == b'data: {"model":"gpt-4o"}\n\n'


@given(st.lists(st.integers(0, 60), max_size=8), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_may_be_cut_anywhere_and_end_their_lines_in_any_way(
    cuts: list[int], newline: bytes
) -> None:
    text = "event: a\ndata: 안\ndata:b\n\n: comment\n\ndata: c\n\n".encode().replace(b"\n", newline)
    reader = EventReader()
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    said = [e for a, b in itertools.pairwise(edges) for e in reader.feed(text[a:b])]
    assert said + reader.finish() == ["안\nb".encode(), b"c"]


def test_a_context_overflow_has_openais_code_and_both_numbers() -> None:
    status, body = error_of(CHAT, 400, OVERFLOW)
    error = orjson.loads(body)["error"]
    assert status == 400
    assert error["code"] == "context_length_exceeded"
    assert error["type"] == "invalid_request_error"
    assert (error["n_prompt_tokens"], error["n_ctx"]) == (27014, 2048)
    assert "27014" in error["message"]
    assert "2048" in error["message"]


def test_a_context_overflow_on_the_messages_route_is_anthropics() -> None:
    _, body = error_of("/v1/messages", 400, OVERFLOW)
    said = orjson.loads(body)
    assert said["type"] == "error"
    assert said["error"]["type"] == "invalid_request_error"
    assert said["error"]["message"] == "prompt is too long: 27014 tokens > 2048 maximum"


def test_ollamas_errors_are_one_text() -> None:
    _, body = error_of("/api/chat", 400, OVERFLOW)
    assert "27014" in orjson.loads(body)["error"]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":null}', b'"x"', b"\xff\xfe"])
@pytest.mark.parametrize("route", [CHAT, "/v1/messages", "/api/chat"])
def test_whatever_the_engine_answers_becomes_an_envelope(route: str, body: bytes) -> None:
    status, said = error_of(route, 500, body)
    error = orjson.loads(said)["error"]
    assert status == 500
    assert error if isinstance(error, str) else error["message"]


def test_an_integer_code_of_the_engine_becomes_none() -> None:
    _, body = error_of(CHAT, 400, b'{"error":{"code":400,"message":"no","type":"t"}}')
    assert orjson.loads(body)["error"] == {
        "message": "no",
        "type": "t",
        "param": None,
        "code": None,
    }


@pytest.mark.parametrize(
    "request_",
    [
        {"messages": [{"role": 7, "content": "x"}]},
        {"messages": [{"role": "user", "content": "x"}], "tools": 7},
    ],
    ids=["role", "tools"],
)
def test_flaw_a_wrong_request_is_the_engines_own_error_and_the_gateways_400(
    bare_http: httpx.Client, translated_http: httpx.Client, request_: dict[str, Any]
) -> None:
    request = {"model": "local-chat", **request_}
    assert bare_http.post(CHAT, json=request).status_code == 500
    answer = translated_http.post(CHAT, json=request)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_an_engine_that_fails_by_itself_stays_a_500() -> None:
    status, _ = error_of(CHAT, 500, b'{"error":{"code":500,"message":"out of memory"}}')
    assert status == 500
