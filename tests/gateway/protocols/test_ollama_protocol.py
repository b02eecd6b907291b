"""Ollama's protocol, through Ollama's own Python client and its types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import ollama
import orjson
import pytest
from translating_transport import TranslatingTransport, asked

from local_ai_suite.demo import write_scripted_gguf
from local_ai_suite.gateway.protocols.ollama import catalogue
from scripted_engine import engine

if TYPE_CHECKING:
    from collections.abc import Iterator

HELLO = "Hello from the scripted model."
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
ENTRY = {
    "id": "local-chat",
    "created": 1_700_000_000,
    "context_length": 4096,
    "mode": "chat",
    "meta": {
        "architecture": "llama",
        "n_params": 7_615_616_512,
        "size": 4_000_000_000,
        "quantization": "Q4_K_M",
        "status": "ready",
        "capabilities": ["chat", "tools", "completion", "fim"],
    },
}


@pytest.fixture(scope="module")
def client(engine_url: str) -> ollama.Client:
    names = {"gpt-4o": "local-chat"}
    return ollama.Client(host=engine_url, transport=TranslatingTransport(names), timeout=30)


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def test_flaw_the_engine_does_not_know_ollamas_routes(bare_http: httpx.Client) -> None:
    assert bare_http.post("/api/chat", json={"messages": user("hi")}).status_code == 404


def test_a_chat_answers(client: ollama.Client) -> None:
    said = client.chat(model="gpt-4o:latest", messages=user("hi"))
    assert said.message.content == HELLO
    assert (said.done, said.done_reason, said.model) == (True, "stop", "gpt-4o")
    assert said.eval_count
    assert said.prompt_eval_count
    assert said.total_duration


def test_a_chat_streams(client: ollama.Client) -> None:
    parts = list(client.chat(model="gpt-4o", messages=user("안녕"), stream=True))
    assert "".join(p.message.content or "" for p in parts) == "안녕하세요! 무엇을 도와드릴까요?"
    assert [p.done for p in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].eval_count


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_call_is_an_object(client: ollama.Client, *, stream: bool) -> None:
    said = client.chat(model="gpt-4o", messages=user("weather"), tools=[WEATHER], stream=stream)
    parts = list(said) if stream else [said]
    calls = [call for part in parts for call in part.message.tool_calls or ()]
    assert [(c.function.name, c.function.arguments) for c in calls] == [
        ("get_weather", {"city": "Seoul"})
    ]


def test_a_tools_answer_leads_on(client: ollama.Client) -> None:
    first = client.chat(model="gpt-4o", messages=user("weather"), tools=[WEATHER])
    messages = [
        *user("weather"),
        first.message,
        {"role": "tool", "tool_name": "get_weather", "content": "sunny"},
    ]
    second = client.chat(model="gpt-4o", messages=messages, tools=[WEATHER])
    assert second.message.content == "It is sunny in Seoul, 21 degrees."


def test_a_schema_shapes_the_answer(client: ollama.Client) -> None:
    schema = {"type": "object", "properties": {"answer": {"type": "integer"}}}
    said = client.chat(model="gpt-4o", messages=user("as JSON"), format=schema)
    assert orjson.loads(said.message.content or "") == {"answer": 42}


def test_the_number_of_tokens_is_limited(client: ollama.Client) -> None:
    said = client.chat(model="gpt-4o", messages=user("forever"), options={"num_predict": 4})
    assert (said.done_reason, said.eval_count) == ("length", 4)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"prompt": "hi"}, HELLO),
        ({"prompt": "hi", "system": "Be kind."}, HELLO),
        ({"prompt": "x", "raw": True}, " and so the text goes on."),
        ({"prompt": "x", "suffix": "y"}, "return a + b"),
    ],
    ids=["chat", "system", "raw", "suffix"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_generate_answers(
    client: ollama.Client, request_: dict[str, Any], text: str, *, stream: bool
) -> None:
    said = client.generate(model="gpt-4o", stream=stream, options={"num_predict": 20}, **request_)
    parts = list(said) if stream else [said]
    assert "".join(part.response for part in parts) == text
    assert parts[-1].done_reason == "stop"
    assert parts[-1].eval_count


def test_loading_ahead_is_answered_at_once(client: ollama.Client) -> None:
    assert client.generate(model="gpt-4o").done_reason == "load"


def test_an_error_is_ollamas(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="60014 tokens") as raised:
        client.chat(model="gpt-4o", messages=user("hello " * 20_000))
    assert raised.value.status_code == 400


def test_a_stream_that_breaks_off_says_so() -> None:
    stream = asked("/api/chat", b'{"messages":[{"role":"user"}]}').stream()
    assert stream is not None
    stream.feed(b'data: {"choices":[{"index":0,"delta":{"content":"He"}}]}\n\n')
    assert orjson.loads(stream.finish())["error"]


@pytest.fixture(scope="module")
def embedding_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ollama.Client]:
    model = write_scripted_gguf(tmp_path_factory.mktemp("embed") / "scripted.gguf")
    with engine(model, alias="local-embed", mode="embedding", context=2048, slots=1) as running:
        yield ollama.Client(host=running.url, transport=TranslatingTransport({}), timeout=30)


def test_embeddings_are_given_for_each_text(embedding_client: ollama.Client) -> None:
    said = embedding_client.embed(model="local-embed", input=["a", "b"])
    assert len(said.embeddings) == 2
    assert said.prompt_eval_count
    old = embedding_client.embeddings(model="local-embed", prompt="a")
    assert list(old.embedding) == list(said.embeddings[0])


def test_the_catalogue_is_valid_for_ollamas_client() -> None:
    listed = ollama.ListResponse.model_validate(catalogue.tags([ENTRY]))
    assert listed.models[0].model == "local-chat"
    shown = ollama.ShowResponse.model_validate(catalogue.show(ENTRY))
    assert shown.capabilities == ["completion", "tools", "insert"]
    assert shown.modelinfo
    assert shown.modelinfo["llama.context_length"] == 4096
    assert shown.details
    assert shown.details.parameter_size == "7.6B"
    running = ollama.ProcessResponse.model_validate(catalogue.running([ENTRY]))
    assert running.models[0].context_length == 4096


def test_what_the_engine_has_not_said_is_left_out() -> None:
    bare = {"id": "x", "mode": "embedding"}
    assert catalogue.show(bare)["capabilities"] == ["embedding"]
    assert "unknown.context_length" not in catalogue.show(bare)["model_info"]
    assert catalogue.running([bare]) == {"models": []}
    assert catalogue.public_name("local-chat:latest") == "local-chat"
