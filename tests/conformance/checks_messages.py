"""POST /v1/messages and /v1/messages/count_tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pydantic
from anthropic.types import Message, RawMessageStreamEvent
from checks import (
    FILES_SCHEMA,
    HELLO,
    MESSAGES,
    SUNNY,
    WEATHER_SCHEMA,
    check,
    events,
    post,
    same,
    true,
    user,
    valid,
)  # fmt: skip

if TYPE_CHECKING:
    from targets import Target

WEATHER: Any = {"name": "get_weather", "description": "d", "input_schema": WEATHER_SCHEMA}
FILES: Any = {"name": "list_files", "input_schema": FILES_SCHEMA}
TYPES: dict[str, type[pydantic.BaseModel]] = {
    event.model_fields["type"].annotation.__args__[0]: event
    for event in get_args(get_args(RawMessageStreamEvent)[0])
}


@check
def whole(t: Target) -> None:
    said = valid(Message, post(t, MESSAGES, max_tokens=60, messages=user("hi")))
    same([block.type for block in said.content], ["text"], "not one text block")
    same(getattr(said.content[0], "text", None), HELLO, "another text")
    same(said.stop_reason, "end_turn", "stop_reason is not end_turn")


@check
def streamed(t: Target) -> None:
    said = events(t, MESSAGES, max_tokens=60, messages=user("hi"))
    for event in said:
        if event["type"] != "ping":
            valid(TYPES[event["type"]], event)
    same([said[0]["type"], said[-1]["type"]], ["message_start", "message_stop"], "wrong frame")
    deltas = [e["delta"] for e in said if e["type"] == "content_block_delta"]
    same("".join(d["text"] for d in deltas), HELLO, "another text")


@check
def streamed_through_the_SDKs_helper(t: Target) -> None:  # noqa: N802
    with t.anthropic.messages.stream(
        model="local-chat", max_tokens=60, messages=user("hi")
    ) as stream:
        same(stream.get_final_text(), HELLO, "another text")


@check
def tool_use(t: Target) -> None:
    said = t.anthropic.messages.create(
        model="local-chat", max_tokens=60, messages=user("weather"), tools=[WEATHER, FILES]
    )
    block: Any = said.content[-1]
    same((block.type, said.stop_reason), ("tool_use", "tool_use"), "no tool_use")
    same(block.input, {"city": "Seoul"}, "another input")


@check
def tool_use_streamed(t: Target) -> None:
    with t.anthropic.messages.stream(
        model="local-chat", max_tokens=60, messages=user("weather"), tools=[WEATHER]
    ) as stream:
        block: Any = stream.get_final_message().content[-1]
    same(block.type, "tool_use", "no tool_use")
    same(block.input, {"city": "Seoul"}, "another input")


@check
def streamed_tool_use_is_valid_for_the_SDK(t: Target) -> None:  # noqa: N802
    for event in events(t, MESSAGES, max_tokens=60, messages=user("weather"), tools=[WEATHER]):
        if event["type"] != "ping":
            valid(TYPES[event["type"]], event)


@check
def tool_result_leads_on(t: Target) -> None:
    use = {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Seoul"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "sunny"}
    messages = [
        *user("weather"),
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]
    said = post(t, MESSAGES, max_tokens=60, messages=messages, tools=[WEATHER])
    same(said["content"][0].get("text"), SUNNY, "another text")


@check
def named_tool_is_used(t: Target) -> None:
    said = t.anthropic.messages.create(
        model="local-chat", max_tokens=60, messages=user("hi"), tools=[WEATHER, FILES],
        tool_choice={"type": "tool", "name": "list_files"},
    )  # fmt: skip
    text = said.model_dump_json()
    true("get_weather" not in text, "another tool was offered")


@check
def a_request_as_claude_code_sends_it(t: Target) -> None:
    said = post(
        t,
        MESSAGES + "?beta=true",
        max_tokens=60,
        system=[{"type": "text", "text": "You are.", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {"role": "system", "content": "A reminder."},
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        ],
        tools=[WEATHER],
        metadata={"user_id": "u"},
        context_management={"edits": []},
    )
    same(said["content"][0].get("text"), HELLO, "another text")


@check
def one_token_is_one_token(t: Target) -> None:
    said = post(t, MESSAGES, max_tokens=1, messages=user("forever"))
    same(said["usage"]["output_tokens"], 1, "max_tokens is raised")


@check
def stop_sequences(t: Target) -> None:
    said = post(t, MESSAGES, max_tokens=60, messages=user("hi"), stop_sequences=["scripted"])
    same(said["content"][0]["text"], "Hello from the ", "not cut")


@check
def stop_sequence_is_the_reason(t: Target) -> None:
    said = post(t, MESSAGES, max_tokens=60, messages=user("hi"), stop_sequences=["scripted"])
    same(said["stop_reason"], "stop_sequence", "stop_reason is not stop_sequence")


@check
def counted_tokens(t: Target) -> None:
    said = t.anthropic.messages.count_tokens(model="local-chat", messages=user("hello " * 100))
    true(said.input_tokens > 100, "too few")
