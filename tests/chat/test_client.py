"""The suite's own client against the real engine, and against servers that misbehave."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from chat_servers import CONTEXT, http, sse

from local_ai_suite.client import Client, Timeouts, client_for
from local_ai_suite.errors import (
    BadAnswer,
    ContextOverflow,
    NetworkError,
    NoServer,
    RequestRefused,
    UsageError,
)
from local_ai_suite.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from chat_servers import RawServer

    Raw = Callable[..., RawServer]

HELLO = [{"role": "user", "content": "Hi there"}]
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "integer"}},
    "required": ["answer"],
    "additionalProperties": False,
}


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def client(engine: str) -> Client:
    return Client(f"{engine}/v1")


def test_chats_with_the_real_engine_and_reports_usage_and_speed(client: Client) -> None:
    answer = client.chat(HELLO, model="local-chat", max_tokens=50)
    assert answer.text == "Hello from the scripted model."
    assert answer.finish_reason == "stop"
    assert answer.usage.completion_tokens is not None
    assert answer.usage.completion_tokens > 1
    assert answer.timings.predicted_per_second is not None


def test_a_stream_gives_pieces_then_the_whole_with_usage(client: Client) -> None:
    with client.stream_chat(user("안녕"), model="local-chat") as stream:
        pieces = [delta.text for delta in stream]
    assert len(pieces) > 2
    assert "".join(pieces) == stream.answer.text == "안녕하세요! 무엇을 도와드릴까요?"
    assert stream.answer.finish_reason == "stop"
    assert stream.answer.usage.prompt_tokens is not None
    assert stream.answer.timings.predicted_per_second is not None


def test_a_schema_holds_the_answer(client: Client) -> None:
    answer = client.chat(user("as JSON please"), model="local-chat", schema=SCHEMA)
    assert answer.json() == {"answer": 42}


def test_json_cut_at_the_token_limit_says_so(client: Client) -> None:
    answer = client.chat(user("as JSON please"), model="local-chat", schema=SCHEMA, max_tokens=1)
    with pytest.raises(BadAnswer, match="cut at its token limit"):
        answer.json()


def test_a_tool_call_arrives_whole_streamed_or_not(client: Client) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}]
    whole = client.chat(user("weather?"), model="local-chat", tools=tools)
    with client.stream_chat(user("weather?"), model="local-chat", tools=tools) as stream:
        assert [delta.text for delta in stream] == []
    for answer in (whole, stream.answer):
        (call,) = answer.tool_calls
        assert call.name == "get_weather"
        assert json.loads(call.arguments) == {"city": "Seoul"}
        assert answer.finish_reason == "tool_calls"


def test_completes_and_fills_in_the_middle(client: Client) -> None:
    text = client.complete("Once upon a time", model="local-chat", max_tokens=30)
    assert text.text.startswith(" and so the text goes on.")
    middle = client.fim("def add(a, b):\n    ", "\n", model="local-chat", max_tokens=30)
    assert middle.text.startswith("return a + b")


def test_counts_what_the_engine_then_counts(client: Client) -> None:
    text = client.count_tokens("a few words", model="local-chat")
    assert text is not None
    assert text > 0
    chat = client.count_tokens(HELLO, model="local-chat")
    answer = client.chat(HELLO, model="local-chat", max_tokens=5)
    assert chat == answer.usage.prompt_tokens


def test_a_prompt_over_the_context_is_refused_with_both_numbers(client: Client) -> None:
    with pytest.raises(ContextOverflow) as caught:
        client.chat(user("word " * 4000), model="local-chat")
    assert caught.value.details["context_tokens"] == CONTEXT
    assert caught.value.details["prompt_tokens"] > CONTEXT
    assert f"{CONTEXT:,}" in caught.value.message


def test_a_stream_over_the_context_is_refused_the_same_way(client: Client) -> None:
    with (
        pytest.raises(ContextOverflow),
        client.stream_chat(user("word " * 4000), model="local-chat") as stream,
    ):
        list(stream)


def test_leaving_the_stream_frees_the_engines_only_slot(client: Client) -> None:
    with client.stream_chat(user("forever"), model="local-chat", max_tokens=1500) as stream:
        next(iter(stream))
    assert stream.answer.finish_reason is None
    assert stream.answer.text
    # One slot: this waits for the first answer unless closing stopped it.
    again = client.chat(HELLO, model="local-chat", max_tokens=50)
    assert again.text == "Hello from the scripted model."


def test_close_from_another_thread_ends_the_stream_quietly(raw_server: Raw) -> None:
    chunk = json.dumps({"choices": [{"delta": {"content": "one"}}]})
    server = raw_server(sse(chunk, end=False), hold=True)
    stream = Client(server.url).stream_chat(HELLO, model="m")
    threading.Timer(0.2, stream.close).start()
    assert [delta.text for delta in stream] == ["one"]
    assert server.hung_up.wait(10)


def test_models_carry_the_limits_that_the_server_tells(raw_server: Raw) -> None:
    ours = {
        "id": "local-chat",
        "meta": {
            "kind": "chat",
            "status": "ready",
            "n_ctx": 8192,
            "default_max_output": 2048,
            "capabilities": ["chat", "tools"],
            "is_demo": True,
        },
    }
    plain = {"id": "cloud", "max_input_tokens": 128_000}
    server = raw_server(http(json.dumps({"data": [ours, plain]}).encode()))
    first, second = Client(server.url).models()
    assert (first.context, first.max_output, first.is_demo) == (8192, 2048, True)
    assert first.can("tools") is True
    assert first.can("fim") is False
    assert (second.context, second.kind, second.can("tools")) == (128_000, None, None)


def test_an_unknown_model_names_those_that_are_there(raw_server: Raw) -> None:
    server = raw_server(http(b'{"data": [{"id": "local-chat"}]}'))
    with pytest.raises(RequestRefused) as caught:
        Client(server.url).model("gpt-9")
    assert "gpt-9" in caught.value.message
    assert "local-chat" in caught.value.hint


def test_no_server_says_how_to_start_it(closed_port: int) -> None:
    with pytest.raises(NoServer) as caught:
        Client(f"http://127.0.0.1:{closed_port}/v1").models()
    assert "make up-p1" in caught.value.hint
    assert str(closed_port) in caught.value.message


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (http(b'{"error":{"message":"bad key"}}', "401 No"), RequestRefused, "bad key"),
        (http(b"<h1>Hello</h1>"), BadAnswer, "not an OpenAI API"),
        (http(b'{"hello": 1}'), BadAnswer, "not an OpenAI API"),
        (http(b'{"choices": []}'), BadAnswer, "not an OpenAI API"),
        (http(b'{"choices": [{"message": null}]}'), BadAnswer, "not an OpenAI API"),
        (http(b"oops", "500 Broken"), RequestRefused, "oops"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", BadAnswer, "not an OpenAI API"),
        (b"", NetworkError, "closed the connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{", NetworkError, "closed"),
    ],
)
def test_whatever_answers_is_a_clear_error(
    raw_server: Raw, reply: bytes, error: type[NetworkError], words: str
) -> None:
    with pytest.raises(error, match=words):
        Client(raw_server(reply).url).chat(HELLO, model="m")


@pytest.mark.parametrize(
    ("events", "error", "words"),
    [
        (['{"choices":[{"delta":{"content":"half"}}]}'], NetworkError, "closed the connection"),
        (['{"error":{"code":503,"message":"loading"}}'], RequestRefused, "loading"),
        (["not json"], BadAnswer, "not an OpenAI API"),
        (["[1]"], BadAnswer, "not an OpenAI API"),
        (['{"choices":[{"delta":{"tool_calls":[7]}}]}'], BadAnswer, "not an OpenAI API"),
    ],
)
def test_a_stream_that_breaks_is_a_clear_error_and_keeps_what_came(
    raw_server: Raw, events: list[str], error: type[NetworkError], words: str
) -> None:
    stream = Client(raw_server(sse(*events)).url).stream_chat(HELLO, model="m")
    with pytest.raises(error, match=words):
        list(stream)
    assert stream.answer.text in {"", "half"}


def test_silence_ends_after_the_named_time(raw_server: Raw) -> None:
    waits = Timeouts(quick=0.3, first_byte=0.3, stall=0.3)
    chunk = '{"choices":[{"delta":{"content":"x"}}]}'
    with pytest.raises(NetworkError, match="sent nothing for"):
        Client(raw_server(b"", hold=True).url, timeouts=waits).chat(HELLO, model="m")
    stalled = raw_server(sse(chunk, end=False), hold=True)
    started = time.monotonic()
    with pytest.raises(NetworkError, match="sent nothing for"):
        list(Client(stalled.url, timeouts=waits).stream_chat(HELLO, model="m"))
    assert time.monotonic() - started < 10


def test_litellms_overflow_without_numbers_is_still_an_overflow(raw_server: Raw) -> None:
    text = "litellm.ContextWindowExceededError: request (5000 tokens) exceeds the available context"
    body = {"error": {"message": f"{text} size (4096 tokens), try increasing it", "code": "400"}}
    server = raw_server(http(json.dumps(body).encode(), "400 Bad Request"))
    with pytest.raises(ContextOverflow) as caught:
        Client(server.url).chat(HELLO, model="m")
    details = caught.value.details
    assert (details["prompt_tokens"], details["context_tokens"]) == (5000, 4096)


def test_a_server_that_cannot_count_gives_none(raw_server: Raw) -> None:
    server = raw_server(http(b'{"detail":"Not Found"}', "404 Not Found"))
    assert Client(server.url).count_tokens(HELLO, model="m") is None


def test_the_key_is_sent_and_never_shown(raw_server: Raw) -> None:
    server = raw_server(http(b'{"error":{"message":"no"}}', "401 Unauthorized"))
    with pytest.raises(RequestRefused) as caught:
        Client(server.url, "sk-secret").models()
    assert b"Authorization: Bearer sk-secret" in server.requests[0]
    assert "sk-secret" not in f"{caught.value.as_dict()}"


def test_text_that_is_not_utf8_is_refused_before_sending(raw_server: Raw) -> None:
    server = raw_server(http(b"{}"))
    with pytest.raises(UsageError, match="JSON"):
        Client(server.url).chat(user("bad \udc80 text"), model="m")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x/v1", "http://", "http://x:99999/v1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="not an address"):
        Client(url)


def test_the_settings_name_the_address() -> None:
    assert client_for(Settings()).base_url == "http://127.0.0.1:8000/v1"
    assert client_for(Settings(bind_address="::1", api_gateway_port=9)).base_url == (
        "http://[::1]:9/v1"
    )
    assert client_for(Settings(bind_address="0.0.0.0")).base_url == "http://127.0.0.1:8000/v1"
