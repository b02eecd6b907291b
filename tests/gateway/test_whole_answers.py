"""A whole answer that was put together from a stream is the one that the engine gives whole."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest
from gateway_fake_engine import STREAM, Talk, fake_engine

from gateway_running import Running, running
from local_ai_suite.demo import Call, Calls, Rule, Say, Script, demo_model_path, write_scripted_gguf
from local_ai_suite.gateway.protocols import ENDPOINTS
from local_ai_suite.gateway.protocols.gather import as_stream, carries
from scripted_engine import Engine, engine

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT, COMPLETIONS, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/messages"
CLIENT = httpx.Client(timeout=30)
SCRIPT = Script(
    rules=(
        Rule("안녕", (Say("안녕하세요! 무엇을 도와드릴까요?"),)),
        Rule("think", (Say("<think>\nLet me see.\n</think>\n\nForty-two."),)),
        Rule("empty thought", (Say("<think>\n\n</think>\n\n"),)),
        Rule("weather", (Call("get_weather", {"city": "Seoul"}), Say("It is sunny."))),
        Rule(
            "both",
            (
                Calls(
                    (Call("get_weather", {"city": "서울"}), Call("list_files", {"path": "a b"})),
                    text_before="I look at both.",
                ),
            ),
        ),
        Rule("as JSON", (Say('{"answer": 42}'),)),
        Rule("nothing", (Say("\n\n"),)),
        Rule("forever", (Say("tick tock, the clock goes on, ", forever=True),)),
        Rule("long", (Say("One line.\n\nAnother line, the longer one.\n\nThe end of it all."),)),
    )
)


def tool(name: str, key: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {key: {"type": "string"}}, "required": [key]}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def anthropic_tool(name: str, key: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {key: {"type": "string"}}, "required": [key]}
    return {"name": name, "input_schema": schema}


TOOLS = [tool("get_weather", "city"), tool("list_files", "path")]
ANTHROPIC_TOOLS = [anthropic_tool("get_weather", "city"), anthropic_tool("list_files", "path")]
SCHEMA = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


SHAPES: list[tuple[str, dict[str, Any]]] = [
    (CHAT, said("hi")),
    (CHAT, said("hi", stream=False)),
    (CHAT, said("hi", stream=None)),
    (CHAT, said("안녕")),
    (CHAT, said("long")),
    (CHAT, said("long", n=3)),
    (CHAT, said("long", n=2, max_tokens=4)),
    (CHAT, said("long", stop=["Another"])),
    (CHAT, said("long", stop=["One"])),
    (CHAT, said("long", stop=["never", "of it", "all."])),
    (CHAT, said("think")),
    (CHAT, said("think", max_tokens=2)),
    (CHAT, said("think", tools=TOOLS)),
    (CHAT, said("empty thought")),
    (CHAT, said("nothing")),
    (CHAT, said("weather", tools=TOOLS)),
    (CHAT, said("weather", tools=TOOLS, max_tokens=5)),
    (CHAT, said("both", tools=TOOLS)),
    (CHAT, said("both", tools=TOOLS, parallel_tool_calls=True, n=2)),
    (CHAT, said("as JSON", response_format={"type": "json_object"})),
    (CHAT, said("as JSON", response_format={
        "type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}})),
    (CHAT, said("hi", logprobs=True, top_logprobs=2)),
    (CHAT, said("hi", timings_per_token=True)),
    (CHAT, said("hi", reasoning_format="none")),
    (CHAT, {"messages": []}),
    (CHAT, said("x" * 40_000)),
    (CHAT, said("hi", stream="yes")),
    (COMPLETIONS, {"prompt": "Once"}),
    (COMPLETIONS, {"prompt": ["Once", "Twice", "Thrice"]}),
    (COMPLETIONS, {"prompt": ["Once", "Twice"], "n": 2}),
    (COMPLETIONS, {"prompt": [1, 2, 3]}),
    (COMPLETIONS, {"prompt": "Once", "max_tokens": 3}),
    (COMPLETIONS, {"prompt": "Once", "stop": ["text"]}),
    (COMPLETIONS, {"prompt": "Once", "echo": True}),
    (COMPLETIONS, {"prompt": "Once", "logprobs": 2}),
    (COMPLETIONS, {"prompt": "x" * 40_000}),
    (COMPLETIONS, {}),
    ("/completion", {"prompt": "Once"}),
    ("/completion", {"prompt": ["Once", "Twice"]}),
    ("/completion", {"prompt": "Once", "return_tokens": True, "n_probs": 1}),
    ("/infill", {"input_prefix": "def f(a, b):", "input_suffix": "\n"}),
    ("/infill", {"input_prefix": "a", "input_suffix": "b", "n_predict": 2, "stop": ["+"]}),
    ("/infill", {"input_prefix": "a", "input_suffix": "b", "response_fields": [
        "content", "timings/prompt_n", "generation_settings/stream", "tokens_cached"]}),
    ("/infill", {"input_prefix": "a", "input_suffix": "b", "n_indent": 2}),
    (MESSAGES, said("hi", max_tokens=100)),
    (MESSAGES, said("안녕", max_tokens=100)),
    (MESSAGES, said("long", max_tokens=4)),
    (MESSAGES, said("think", max_tokens=100)),
    (MESSAGES, said("nothing", max_tokens=100)),
    (MESSAGES, said("weather", max_tokens=100, tools=ANTHROPIC_TOOLS)),
    (MESSAGES, said("both", max_tokens=100, tools=ANTHROPIC_TOOLS)),
    (MESSAGES, said("x" * 40_000, max_tokens=100)),
]  # fmt: skip


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Running]]:
    model = write_scripted_gguf(tmp_path_factory.mktemp("gather") / "s.gguf", SCRIPT)
    with engine(model, context=16_384, slots=4) as found, running(found.url) as served:
        yield found, served


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Running]]:
    """With a context so large that an answer without end outlasts a test on a quick machine."""
    model = write_scripted_gguf(tmp_path_factory.mktemp("roomy") / "s.gguf", SCRIPT)
    with engine(model, context=240_000, slots=4) as found, running(found.url) as served:
        yield found, served


def stable(value: Any) -> Any:
    """Without what differs between two equal requests: clocks and random names."""
    if isinstance(value, dict):
        return {
            key: sorted(found) if key == "timings"
            else bool(found) if key in {"id", "created", "timings/prompt_n"}
            else None if key == "id_slot"
            else stable(found)
            for key, found in value.items()
        }  # fmt: skip
    return [stable(found) for found in value] if isinstance(value, list) else value


def ask(url: str, path: str, body: dict[str, Any]) -> httpx.Response:
    # Without the cache the counts of cached tokens are the same whichever slot answers.
    whole = {"model": "local-chat", "temperature": 0, "cache_prompt": False, **body}
    return CLIENT.post(url + path, json=whole)


def in_order(value: Any) -> Any:
    """The members' names in their order, to compare that too."""
    if isinstance(value, dict):
        return [(key, in_order(found)) for key, found in value.items()]
    return [in_order(found) for found in value] if isinstance(value, list) else None


@pytest.mark.parametrize(("path", "body"), SHAPES, ids=lambda shape: str(shape)[:60])
def test_it_is_member_for_member_what_the_engine_answers(
    scripted: tuple[Engine, Running], path: str, body: dict[str, Any]
) -> None:
    found, served = scripted
    if path == MESSAGES:
        ask(found.url, path, body)  # it takes no cache_prompt: now the prompt is cached for both
    direct, relayed = ask(found.url, path, body), ask(served.url, path, body)
    assert relayed.status_code == direct.status_code
    if direct.status_code == 200:
        assert stable(relayed.json()) == stable(direct.json())
        assert in_order(relayed.json()) == in_order(direct.json())
        assert relayed.headers["content-type"] == direct.headers["content-type"]


@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize(("path", "tools"), [(CHAT, TOOLS), (MESSAGES, ANTHROPIC_TOOLS)])
def test_what_the_parser_makes_nothing_of_is_asked_for_again_and_comes_raw(
    scripted: tuple[Engine, Running], path: str, tools: Any, limit: int,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    body = said("weather", tools=tools, max_tokens=limit)
    with caplog.at_level(logging.INFO, logger="local_ai_suite.gateway.exchange"):
        direct, relayed = (ask(part.url, path, body).json() for part in scripted)
    text = "choices" in direct and direct["choices"][0]["message"]["content"]
    text = text or direct["content"][0]["text"]
    assert text.startswith("<tool")
    if path == CHAT:
        assert relayed["choices"] == direct["choices"]
    else:
        assert relayed["content"] == direct["content"]
    assert "asked again" in caplog.text


def test_the_end_of_a_cut_answer_that_may_be_a_stop_text_is_not_lost(
    scripted: tuple[Engine, Running],
) -> None:
    body = {"prompt": "Once", "stop": [" text goes on. And then"], "max_tokens": 4}
    direct, relayed = (ask(part.url, COMPLETIONS, body).json() for part in scripted)
    assert direct["choices"][0]["finish_reason"] == "length"
    assert relayed["choices"][0]["text"] == direct["choices"][0]["text"]
    assert "text" in direct["choices"][0]["text"]


def is_gathered(path: str, body: bytes) -> bool:
    form = ENDPOINTS[path].form
    return form is not None and carries(form(), orjson.loads(body))


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (CHAT, b'"stream":true'),
        (CHAT, b'"stream": "yes"'),
        (CHAT, b'"stream":1'),
        (CHAT, b'"logprobs":true'),
        (CHAT, b'"stream_options":{}'),
        (CHAT, b'"reasoning_format":"none"'),
        (CHAT, b'"stop":["x"],"max_tokens":5'),
        (CHAT, b'"max_completion_tokens": 5, "stop": "x"'),
        (MESSAGES, b'"stop_sequences":["x"],"max_tokens":5'),
        ("/infill", b'"n_indent":2'),
        ("/completion", b'"n_probs":2'),
        ("/v1/embeddings", b'"input":"x"'),
        ("/tokenize", b'"content":"x"'),
    ],
)
def test_what_a_stream_does_not_carry_passes_as_it_came(path: str, more: bytes) -> None:
    assert not is_gathered(path, b'{"model":"m",' + more + b"}")


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"{ } ",
        b'{"model":"m","messages":[{"content":"\\"logprobs\\": 1, \\"stream\\": true"}]}',
        b'{"stream": false, "stop": [], "max_tokens": 5}\n',
        b'{"stop": ["x"]}',
        b'{"a":{}}',
    ],
)
def test_the_rest_of_a_request_goes_out_byte_for_byte(body: bytes) -> None:
    assert is_gathered(CHAT, body)
    sent = as_stream(body)
    assert sent.startswith(body.rstrip()[:-1].rstrip())
    assert {**orjson.loads(sent), "stream": None} == {
        **orjson.loads(body),
        "stream": None,
        "stream_options": {"include_usage": True},
        "return_progress": True,
    }


def test_a_trained_models_answers_are_the_same_wherever_they_are_cut() -> None:
    model = demo_model_path()
    assert model is not None
    with engine(model, context=2048, slots=2) as found, running(found.url) as served:
        for limit in (1, 2, 3, 5, 8, 13, 40):
            more = {"seed": 7, "temperature": 1.2, "n_predict": limit, "max_tokens": limit}
            for path, body in (
                (CHAT, said("안녕하세요?", **more)),
                (CHAT, said("What is the weather in Seoul?", tools=TOOLS, **more)),
                (COMPLETIONS, {"prompt": "안녕하세요?", "stop": ["요.", "\n\n"], **more}),
                ("/infill", {"input_prefix": "def add(", "input_suffix": "\n", **more}),
            ):
                direct, relayed = ask(found.url, path, body), ask(served.url, path, body)
                assert stable(relayed.json()) == stable(direct.json())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, said("forever")),
        ("/v1/responses", {"input": "forever"}),
        (MESSAGES, said("forever", max_tokens=60_000)),
        (COMPLETIONS, {"prompt": "x", "ignore_eos": True}),
        ("/infill", {"input_prefix": "x", "input_suffix": "", "ignore_eos": True}),
        ("/api/chat", said("forever", stream=False)),
    ],
)
def test_a_hang_up_frees_the_slot_while_another_request_streams(
    roomy: tuple[Engine, Running], path: str, body: dict[str, Any]
) -> None:
    found, served = roomy

    def until_busy(slots: int) -> None:
        end = time.monotonic() + 20
        while (
            sum(slot["is_processing"] for slot in CLIENT.get(f"{found.url}/slots").json()) != slots
        ):
            assert time.monotonic() < end, f"{slots} slots were never busy"
            time.sleep(0.02)

    until_busy(0)
    # llama.cpp never works on an infill and anything else at a time (server_slot::can_batch_with).
    beside, more = (path, body) if path == "/infill" else (CHAT, said("forever"))
    other = {"model": "local-chat", "stream": True, **more}
    with CLIENT.stream("POST", served.url + beside, json=other) as stream:
        pieces = stream.iter_raw()
        next(pieces)
        until_busy(1)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(served.url + path, json={"model": "local-chat", **body}, timeout=0.5)
        until_busy(1)
        assert next(pieces), "the other stream goes on"
    until_busy(0)


def whole(url: str) -> httpx.Response:
    return CLIENT.post(url + CHAT, json={"model": "local-chat", **said("hi")})


def test_an_error_in_the_middle_has_the_status_that_it_has_whole() -> None:
    async def script(talk: Talk) -> None:
        await talk.send(STREAM)
        await talk.chunk(b'data: {"choices":[{"index":0,"finish_reason":null,"delta":{}}]}\n\n')
        await talk.chunk(b'data: {"error":{"code":503,"message":"out of room","type":"t"}}\n\n')
        await talk.end()

    with fake_engine(script) as fake, running(fake.url) as served:
        answer = whole(served.url)
        assert answer.status_code == 503
        assert answer.json()["error"]["message"] == "out of room"
        assert len(fake.requests) == 1


def test_an_engine_that_dies_in_the_middle_is_a_502() -> None:
    async def script(talk: Talk) -> None:
        await talk.send(STREAM)
        await talk.chunk(b'data: {"choices":[{"index":0,"finish_reason":null,"delta":{}}]}\n\n')
        talk.cut()

    with fake_engine(script) as fake, running(fake.url) as served:
        assert whole(served.url).status_code == 502


@pytest.mark.parametrize(
    "event", [b"data: {}\n\n", b"data: null\n\n", b"data: {{{\n\n", b"data: [DONE]\n\n",
              b'data: {"error":{"message":"Invalid diff: less tool calls"}}\n\n'],
)  # fmt: skip
def test_a_stream_that_makes_no_answer_is_asked_for_again_as_it_came(event: bytes) -> None:
    async def script(talk: Talk) -> None:
        if b"return_progress" in talk.body:
            await talk.send(STREAM)
            await talk.chunk(event)
            await talk.end()
        else:
            await talk.json({"whole": True})

    with fake_engine(script) as fake, running(fake.url) as served:
        assert whole(served.url).json() == {"whole": True}
        assert len(fake.requests) == 2
