"""POST /v1/responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import orjson
import pydantic
from checks import (
    HELLO,
    RESPONSES,
    WEATHER_SCHEMA,
    Differs,
    check,
    events,
    post,
    refused,
    same,
    true,
    valid,
)  # fmt: skip
from openai.types.responses import Response, ResponseStreamEvent

if TYPE_CHECKING:
    from targets import Target

WEATHER: Any = {
    "type": "function", "name": "get_weather", "parameters": WEATHER_SCHEMA, "strict": True
}  # fmt: skip
TYPES: dict[str, type[pydantic.BaseModel]] = {
    event.model_fields["type"].annotation.__args__[0]: event
    for event in get_args(get_args(ResponseStreamEvent)[0])
}


def stream(t: Target, **body: Any) -> list[dict[str, Any]]:
    said = events(t, RESPONSES, **body)
    for number, event in enumerate(said):
        true(event.get("type") in TYPES, "an event of no known type")
        valid(TYPES[event["type"]], event)
        same(event["sequence_number"], number, "sequence_number does not count")
    same(said[-1]["type"], "response.completed", "no response.completed at the end")
    return said


@check
def whole(t: Target) -> None:
    said = valid(Response, post(t, RESPONSES, input="hi"))
    same(said.output_text, HELLO, "another text")
    true(said.usage and said.usage.total_tokens > 0, "no usage")


@check
def streamed(t: Target) -> None:
    said = stream(t, input="hi")
    text = "".join(e["delta"] for e in said if e["type"] == "response.output_text.delta")
    same(text, HELLO, "another text")


@check
def streamed_through_the_SDKs_helper(t: Target) -> None:  # noqa: N802
    with t.openai.responses.stream(model="local-chat", input="hi") as s:
        for _ in s:
            pass
        same(s.get_final_response().output_text, HELLO, "another text")


@check
def tool_call(t: Target) -> None:
    said = t.openai.responses.create(model="local-chat", input="weather", tools=[WEATHER])
    calls = [item for item in said.output if item.type == "function_call"]
    same([call.name for call in calls], ["get_weather"], "not one call")
    same(orjson.loads(calls[0].arguments), {"city": "Seoul"}, "other arguments")


@check
def tool_call_streamed(t: Target) -> None:
    said = stream(t, input="weather", tools=[WEATHER])
    kind = "response.function_call_arguments.delta"
    arguments = "".join(e["delta"] for e in said if e["type"] == kind)
    same(orjson.loads(arguments), {"city": "Seoul"}, "other arguments")


@check
def named_tool_is_called(t: Target) -> None:
    said = t.openai.responses.create(
        model="local-chat", input="hi", tools=[WEATHER], max_output_tokens=50,
        tool_choice={"type": "function", "name": "get_weather"},
    )  # fmt: skip
    true(any(item.type == "function_call" for item in said.output), "the tool is not called")


@check
def text_format(t: Target) -> None:
    class Answer(pydantic.BaseModel):
        answer: int

    said = t.openai.responses.parse(model="local-chat", input="as JSON", text_format=Answer)
    same(said.output_parsed, Answer(answer=42), "not parsed")


@check
def text_format_shapes_what_would_be_prose(t: Target) -> None:
    said = t.openai.responses.create(
        model="local-chat", input="hi", text={"format": {"type": "json_object"}},
        max_output_tokens=40,
    )  # fmt: skip
    true(said.output_text.lstrip().startswith("{"), "text.format is ignored")


@check
def previous_response_id_is_refused(t: Target) -> None:
    status, _ = refused(t, RESPONSES, input="hi", previous_response_id="resp_1")
    same(status, 400, "not 400")


@check
def a_request_as_codex_sends_it(t: Target) -> None:
    developer = [{"type": "input_text", "text": "Sandbox: read-only."}]
    said = stream(
        t,
        instructions="You are a coding agent.",
        input=[
            {"type": "message", "role": "developer", "content": developer},
            {"role": "user", "content": [{"type": "input_text", "text": "weather"}]},
        ],
        tools=[
            WEATHER,
            {"type": "namespace", "name": "mcp__x", "description": "", "tools": [
                {**WEATHER, "name": "other"}]},
            {"type": "custom", "name": "apply_patch", "description": "d"},
            {"type": "web_search", "external_web_access": False},
        ],
        tool_choice="auto",
        parallel_tool_calls=True,
        reasoning={"effort": "medium"},
        store=False,
        include=["reasoning.encrypted_content"],
        prompt_cache_key="k",
    )  # fmt: skip
    output = said[-1]["response"]["output"]
    same([item.get("name") for item in output], ["get_weather"], "not one call")


@check
def a_cut_answer_is_incomplete(t: Target) -> None:
    said = post(t, RESPONSES, input="forever", max_output_tokens=20)
    if said.get("status") != "incomplete":
        raise Differs("its status is not incomplete")
    same(said["incomplete_details"], {"reason": "max_output_tokens"}, "no reason")
