"""Spellings of thinking, empty stops, limits of nothing and tools forced where none are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from translating_transport import asked, error_of, is_untouched

from local_ai_suite.gateway.protocols import BadRequest, Request
from local_ai_suite.gateway.protocols.errors import Refused

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
PATHS = pytest.mark.parametrize("path", [CHAT, MESSAGES])


def body(**more: Any) -> bytes:
    said = {"model": "local-chat", "messages": [{"role": "user", "content": "hi"}], **more}
    return json.dumps(said).encode()


def sent(path: str, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(asked(path, body(**more)).body())
    return made


@PATHS
@pytest.mark.parametrize(
    ("spelling", "on"),
    [
        ({"enable_thinking": False}, False),
        ({"enable_thinking": True}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, True),
        ({"think": False}, False),
        ({"reasoning": {"enabled": False}}, False),
        ({"reasoning": {"enabled": True, "effort": "low"}}, True),
    ],
)
def test_every_spelling_of_thinking_reaches_the_template(
    path: str, spelling: dict[str, Any], on: bool
) -> None:
    assert sent(path, **spelling)["chat_template_kwargs"] == {"enable_thinking": on}


@PATHS
def test_what_the_engine_knows_itself_counts_before_other_spellings(path: str) -> None:
    given = {"chat_template_kwargs": {"enable_thinking": True, "a": 1}, "think": False}
    assert sent(path, **given)["chat_template_kwargs"] == {"enable_thinking": True, "a": 1}


@pytest.mark.parametrize("spelling", [{"reasoning": {"effort": "low"}}, {"think": "low"}])
def test_an_effort_is_passed_on(spelling: dict[str, Any]) -> None:
    assert sent(CHAT, **spelling)["reasoning_effort"] == "low"


def test_the_responses_api_thinks_as_it_is_asked() -> None:
    request = {"model": "local-chat", "input": "hi", "reasoning": {"effort": "none"}}
    made = json.loads(asked("/v1/responses", json.dumps(request).encode()).body())
    assert made["reasoning_effort"] == "none"


@PATHS
@pytest.mark.parametrize("name", ["stop", "stop_sequences"])
def test_an_empty_stop_is_no_stop(path: str, name: str) -> None:
    assert name not in sent(path, **{name: [""]})
    assert sent(path, **{name: ["", "END"]})[name] == ["END"]
    assert "stop" not in sent(path, stop="")


@PATHS
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_no_tokens_at_all_is_refused(path: str, name: str) -> None:
    with pytest.raises(Refused, match="at least 1"):
        asked(path, body(**{name: 0}))


@pytest.mark.parametrize(
    ("path", "choice"),
    [
        (CHAT, "required"),
        (CHAT, {"type": "function", "function": {"name": "f"}}),
        (MESSAGES, {"type": "any"}),
        (MESSAGES, {"type": "tool", "name": "f"}),
    ],
)
def test_a_forced_tool_where_there_are_none_is_refused(path: str, choice: Any) -> None:
    with pytest.raises(Refused):
        asked(path, body(tool_choice=choice))


@PATHS
def test_a_request_that_needs_none_of_this_is_not_touched(path: str) -> None:
    raw = body(stop=["END"], max_tokens=5, temperature=0)
    found = asked(path, raw)
    assert found.body() is raw
    assert path == MESSAGES or is_untouched(found, raw)


@pytest.mark.parametrize("route", ["/v1/embeddings", "/v1/rerank"])
def test_a_null_is_a_member_that_is_not_there(route: str) -> None:
    raw = b'{"model": "local-chat", "input": "x", "encoding_format": null, "dimensions": null}'
    assert json.loads(asked(route, raw).body()) == {"model": "local-chat", "input": "x"}


# Bodies


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'\xef\xbb\xbf{"a": "b"}', {"a": "b"}),
        (b'{"a": "half \\ud83d"}', {"a": "half \N{REPLACEMENT CHARACTER}"}),
        (b'{"\\udc00": ["\\uD83D\\uDE00", "\\ud83d"]}',
         {"\N{REPLACEMENT CHARACTER}": ["\N{GRINNING FACE}", "\N{REPLACEMENT CHARACTER}"]}),
        (b'{"a": "\\ud83d", "n": 123456789012345678901234567890}',
         {"a": "\N{REPLACEMENT CHARACTER}", "n": 123456789012345678901234567890}),
    ],
)  # fmt: skip
def test_a_mark_before_the_body_and_half_a_character_are_read(raw: bytes, said: Any) -> None:
    read = Request.read(raw)
    assert read.parsed == said
    assert json.loads(read.raw) == said


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ('{"a": "é"}'.encode("latin-1"), "not UTF-8"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'\xef\xbb\xbf{"a":', "not valid JSON"),
        (b'{"a": "\\ud83d", "b": NaN}', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'\xef\xbb\xbf["\\ud83d"]', "must be a JSON object"),
    ],
)
def test_a_body_that_is_no_json_is_refused_with_the_reason(raw: bytes, told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        Request.read(raw)


def test_an_input_that_is_too_long_to_embed_tells_both_numbers() -> None:
    said = (
        "input (812 tokens) is too large to process. increase the physical batch size "
        "(current batch size: 512)"
    )
    engine = json.dumps({"error": {"code": 500, "message": said, "type": "server_error"}})
    status, body = error_of("/v1/embeddings", 500, engine.encode())
    error = json.loads(body)["error"]
    assert status == 400
    assert (error["code"], error["param"]) == ("context_length_exceeded", "input")
    assert (error["n_prompt_tokens"], error["n_ctx"]) == (812, 512)
    assert "batch" not in error["message"]
