"""The Responses API: what llama.cpp's own lacks, and what the gateway gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import httpx
import openai
import orjson
import pydantic
import pytest
from openai.types.responses import (
    Response,
    ResponseCreatedEvent,
    ResponseStreamEvent,
    ResponseTextDeltaEvent,
)
from translating_transport import asked

from local_ai_suite.gateway.protocols import ENDPOINTS

if TYPE_CHECKING:
    from openai.types.responses import FunctionToolParam

    from local_ai_suite.gateway.protocols import Asked

WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
HELLO = "Hello from the scripted model."
EVENTS: dict[str, type[pydantic.BaseModel]] = {
    event.model_fields["type"].annotation.__args__[0]: event
    for event in get_args(get_args(ResponseStreamEvent)[0])
}
"""The SDK's own types of events, by name."""


def events(http: httpx.Client, **request: Any) -> list[dict[str, Any]]:
    with http.stream("POST", "/v1/responses", json={"stream": True, **request}) as answer:
        assert answer.status_code == 200, answer.read()
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    return [orjson.loads(line[6:]) for line in lines]


def test_flaw_the_engines_stream_has_no_sequence_numbers_and_a_bare_created_event(
    bare_http: httpx.Client,
) -> None:
    first = events(bare_http, model="local-chat", input="hi")[0]
    with pytest.raises(pydantic.ValidationError):
        ResponseCreatedEvent.model_validate(first)


def test_flaw_the_sdks_own_stream_breaks_on_the_engines(bare: openai.OpenAI) -> None:
    with (
        pytest.raises(Exception),  # noqa: B017, PT011 - which error it is depends on the SDK
        bare.responses.stream(model="local-chat", input="hi") as stream,
    ):
        stream.get_final_response()


def test_flaw_the_engine_ignores_the_text_format(bare: openai.OpenAI) -> None:
    said = bare.responses.create(
        model="local-chat", input="hi", text={"format": {"type": "json_object"}}
    )
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(said.output_text)


@pytest.mark.parametrize(
    "request_", [{"input": "hi"}, {"input": "weather", "tools": [WEATHER]}], ids=["text", "tool"]
)
def test_every_event_of_the_stream_is_whole_and_in_order(
    translated_http: httpx.Client, request_: dict[str, Any]
) -> None:
    said = events(translated_http, model="gpt-4o", **request_)
    for number, event in enumerate(said):
        EVENTS[event["type"]].model_validate(event)
        assert event["sequence_number"] == number
    assert [event["type"] for event in said[:3]] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
    ]
    last = Response.model_validate(said[-1]["response"])
    assert said[-1]["type"] == "response.completed"
    assert last.model == "gpt-4o"
    assert last.usage
    assert last.usage.total_tokens == last.usage.input_tokens + last.usage.output_tokens > 0


def test_the_sdks_own_stream_gathers_the_text(translated: openai.OpenAI) -> None:
    with translated.responses.stream(model="gpt-4o", input="hi") as stream:
        texts = [event.delta for event in stream if event.type == "response.output_text.delta"]
        assert "".join(texts) == stream.get_final_response().output_text == HELLO
    assert len(texts) > 1


def test_the_sdks_own_stream_gathers_a_tool_call(translated: openai.OpenAI) -> None:
    with translated.responses.stream(model="gpt-4o", input="weather", tools=[WEATHER]) as stream:
        done = [e for e in stream if e.type == "response.function_call_arguments.done"]
        final = stream.get_final_response()
    assert orjson.loads(done[0].arguments) == {"city": "Seoul"}
    call = final.output[0]
    assert call.type == "function_call"
    assert (call.name, orjson.loads(call.arguments)) == ("get_weather", {"city": "Seoul"})


def test_a_tools_output_leads_to_the_answer(translated: openai.OpenAI) -> None:
    first = translated.responses.create(model="gpt-4o", input="weather", tools=[WEATHER])
    call = first.output[0]
    assert call.type == "function_call"
    second = translated.responses.create(
        model="gpt-4o",
        tools=[WEATHER],
        input=[
            {"role": "user", "content": "weather"},
            {
                "type": "function_call",
                "call_id": call.call_id,
                "name": call.name,
                "arguments": call.arguments,
            },
            {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
        ],
    )
    assert second.output_text == "It is sunny in Seoul, 21 degrees."


def test_structured_output_is_parsed_by_the_sdk(translated: openai.OpenAI) -> None:
    class Answer(pydantic.BaseModel):
        answer: int

    said = translated.responses.parse(model="gpt-4o", input="as JSON", text_format=Answer)
    assert said.output_parsed == Answer(answer=42)


def test_an_output_that_was_cut_is_incomplete(translated: openai.OpenAI) -> None:
    said = translated.responses.create(model="gpt-4o", input="forever", max_output_tokens=5)
    assert said.status == "incomplete"
    assert said.incomplete_details
    assert said.incomplete_details.reason == "max_output_tokens"
    with translated.responses.stream(
        model="gpt-4o", input="forever", max_output_tokens=5
    ) as stream:
        assert [event.type for event in stream][-1] == "response.incomplete"


def test_log_probabilities_come_when_they_are_asked_for(translated: openai.OpenAI) -> None:
    said = translated.responses.create(
        model="gpt-4o", input="hi", include=["message.output_text.logprobs"], top_logprobs=2
    )
    message = said.output[0]
    assert message.type == "message"
    part = message.content[0]
    assert part.type == "output_text"
    assert part.logprobs
    assert len(part.logprobs[0].top_logprobs) == 2


CODEX = {
    "instructions": "You are a coding agent.",
    "input": [
        {
            "type": "message",
            "role": "developer",
            "content": [{"type": "input_text", "text": "Sandbox: read-only."}],
        },
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "<environment/>"},
                {"type": "input_text", "text": "weather"},
            ],
        },
    ],
    "tools": [
        {
            "type": "namespace",
            "name": "mcp__sky",
            "description": "The sky.",
            "tools": [{**WEATHER, "strict": False}],
        },
        {
            "type": "custom",
            "name": "apply_patch",
            "description": "Edits files.",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: /x/"},
        },
        {"type": "web_search", "external_web_access": False},
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "0199",
    "client_metadata": {"originator": "codex"},
}
"""What Codex sends (0.169), shortened."""


def test_a_request_as_codex_sends_it_is_answered(translated_http: httpx.Client) -> None:
    said = events(translated_http, model="gpt-4o", **CODEX)
    assert said[-1]["type"] == "response.completed"
    assert {tool["type"] for tool in said[-1]["response"]["tools"]} == {"namespace", "custom"}


def asked_for(**request: Any) -> Asked:
    body = orjson.dumps({"model": "local-chat", **request})
    return asked("/v1/responses", body)


def replayed(found: Asked, *deltas: dict[str, Any], finish: str = "stop") -> list[Any]:
    """The events for a chat completion stream of these deltas."""
    stream = found.stream()
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    text = b"".join(b"data: " + orjson.dumps(c) + b"\n\n" for c in chunks) + b"data: [DONE]\n\n"
    said = stream.feed(text) + stream.finish()
    datas = [line[6:] for line in said.split(b"\n") if line.startswith(b"data: ")]
    events = [orjson.loads(data) for data in datas]
    for event in events:
        EVENTS[event["type"]].model_validate(event)
    return events


def call(name: str, arguments: str, index: int = 0) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"tool_calls": [{"index": index, "id": f"c{index}", "function": function}]}


def test_namespaced_and_custom_calls_come_back_under_their_own_names() -> None:
    found = asked_for(**CODEX)
    said = replayed(
        found,
        call("mcp__sky__get_weather", '{"city":"Seoul"}'),
        call("apply_patch", '{"input":"*** Begin Patch"}', index=1),
        finish="tool_calls",
    )
    weather, patch = said[-1]["response"]["output"]
    assert (weather["namespace"], weather["name"]) == ("mcp__sky", "get_weather")
    assert (patch["type"], patch["input"]) == ("custom_tool_call", "*** Begin Patch")
    kinds = [event["type"] for event in said]
    assert "response.custom_tool_call_input.done" in kinds


def test_the_model_is_shown_one_system_message_and_flat_functions() -> None:
    chat = orjson.loads(asked_for(**CODEX).body())
    assert chat["messages"][0] == {
        "role": "system",
        "content": "You are a coding agent.\n\nSandbox: read-only.",
    }
    names = [tool["function"]["name"] for tool in chat["tools"]]
    assert names == ["mcp__sky__get_weather", "apply_patch"]
    assert not {"store", "include", "client_metadata", "prompt_cache_key"} & set(chat)


def test_thoughts_are_an_item_of_their_own_before_the_text() -> None:
    said = replayed(asked_for(input="hi"), {"reasoning_content": "Hm."}, {"content": "Yes."})
    thought, message = said[-1]["response"]["output"]
    assert thought["content"] == [{"type": "reasoning_text", "text": "Hm."}]
    assert message["content"][0]["text"] == "Yes."
    indexes = [event["output_index"] for event in said if "output_index" in event]
    assert indexes == sorted(indexes)


def test_thoughts_of_earlier_turns_go_back_with_their_message() -> None:
    chat = orjson.loads(
        asked_for(
            input=[
                {"role": "user", "content": "a"},
                {"type": "reasoning", "summary": [], "content": [{"text": "Hm."}]},
                {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
                {"type": "function_call", "call_id": "c2", "name": "g", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "1"},
            ]
        ).body()
    )
    assistant = chat["messages"][1]
    assert assistant["reasoning_content"] == "Hm."
    assert [c["id"] for c in assistant["tool_calls"]] == ["c1", "c2"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("previous_response_id", "resp_1"),
        ("conversation", "conv_1"),
        ("background", True),
        ("prompt", {"id": "pmpt_1"}),
    ],
)
def test_what_needs_a_memory_is_refused(
    translated_http: httpx.Client, key: str, value: object
) -> None:
    answer = translated_http.post(
        "/v1/responses", json={"model": "gpt-4o", "input": "hi", key: value}
    )
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == (key, "unsupported_parameter")


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"input": 7},
        {"input": [7]},
        {"input": [{"type": "item_reference", "id": "x"}]},
        {"input": [{"role": "robot", "content": "x"}]},
        {"input": [{"role": "user", "content": [{"type": "input_file"}]}]},
        {"input": "x", "tools": [WEATHER], "tool_choice": {"type": "web_search"}},
        {"input": "x", "tools": [WEATHER], "tool_choice": {"type": "function", "name": "no"}},
    ],
)
def test_what_cannot_be_served_is_a_400(translated: openai.OpenAI, bad: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError):
        translated.post("/responses", body={"model": "gpt-4o", **bad}, cast_to=object)


def test_a_context_overflow_has_its_code(translated: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        translated.responses.create(model="gpt-4o", input="hello " * 20_000, stream=True)
    assert raised.value.code == "context_length_exceeded"


def test_an_engine_that_dies_in_mid_stream_is_a_failed_response() -> None:
    stream = asked_for(input="hi").stream()
    stream.feed(b'data: {"choices":[{"index":0,"delta":{"content":"He"}}]}\n\n')
    said = stream.finish()
    last = orjson.loads(said.rsplit(b"data: ", 1)[1])
    assert last["type"] == "response.failed"
    assert Response.model_validate(last["response"]).status == "failed"


def test_an_error_event_of_the_engine_is_a_failed_response() -> None:
    stream = asked_for(input="hi").stream()
    said = stream.feed(b'data: {"error":{"code":500,"message":"boom","type":"server_error"}}\n\n')
    last = orjson.loads(said.rsplit(b"data: ", 1)[1])
    assert last["response"]["error"]["message"] == "boom"
    assert stream.finish() == b""


def test_a_forced_call_works_here_too(translated: openai.OpenAI) -> None:
    said = translated.responses.create(
        model="gpt-4o",
        input="hi",
        tools=[WEATHER],
        tool_choice={"type": "function", "name": "get_weather"},
        max_output_tokens=50,
    )
    assert said.output[0].type == "function_call"


def test_a_text_delta_is_valid_for_the_sdk(translated_http: httpx.Client) -> None:
    said = events(translated_http, model="gpt-4o", input="안녕")
    deltas = [e for e in said if e["type"] == "response.output_text.delta"]
    text = "".join(ResponseTextDeltaEvent.model_validate(e).delta for e in deltas)
    assert text == "안녕하세요! 무엇을 도와드릴까요?"


def test_a_stream_that_fails_before_it_began_is_a_failed_response_too() -> None:
    said = ENDPOINTS["/v1/responses"].envelope.event({"message": "away", "code": "engine_away"})
    last = orjson.loads(said.rsplit(b"data: ", 1)[1])
    response = Response.model_validate(last["response"])
    assert response.status == "failed"
    assert response.error
    assert (response.error.code, response.error.message) == ("server_error", "away")
