"""POST /v1/chat/completions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pydantic
from checks import (
    CHAT,
    FILES,
    HELLO,
    KOREAN,
    SUNNY,
    WEATHER,
    check,
    datas,
    events,
    post,
    same,
    true,
    user,
    valid,
)  # fmt: skip
from openai.types.chat import ChatCompletion, ChatCompletionChunk

if TYPE_CHECKING:
    from targets import Target

NAMED: Any = {"type": "function", "function": {"name": "list_files"}}


@check
def whole(t: Target) -> None:
    said = valid(ChatCompletion, post(t, CHAT, messages=user("hi")))
    same(said.choices[0].message.content, HELLO, "another text")
    same(said.choices[0].finish_reason, "stop", "finish_reason is not stop")
    true(said.usage and said.usage.total_tokens > 0, "no usage")


@check
def streamed(t: Target) -> None:
    chunks = [valid(ChatCompletionChunk, e) for e in events(t, CHAT, messages=user("hi"))]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    same(text, HELLO, "another text")
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
    same([r for r in reasons if r], ["stop"], "not one finish_reason")


@check
def streamed_usage_comes_last_and_alone(t: Target) -> None:
    options = {"include_usage": True}
    last = events(t, CHAT, messages=user("hi"), stream_options=options)[-1]
    same(last.get("choices"), [], "choices of the usage chunk are not empty")
    true((last.get("usage") or {}).get("total_tokens"), "no usage")


@check
def streamed_through_the_SDKs_helper(t: Target) -> None:  # noqa: N802
    with t.openai.chat.completions.stream(model="local-chat", messages=user("hi")) as stream:
        for _ in stream:
            pass
        same(stream.get_final_completion().choices[0].message.content, HELLO, "another text")


@check
def korean_text_is_whole_in_every_event(t: Target) -> None:
    said = [orjson.loads(d.decode("utf-8")) for d in datas(t, CHAT, messages=user("안녕"))]
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in said if c["choices"])
    same(text, KOREAN, "another text")


@check
def tool_call(t: Target) -> None:
    said = t.openai.chat.completions.create(
        model="local-chat", messages=user("weather"), tools=[WEATHER, FILES]
    ).choices[0]
    same(said.finish_reason, "tool_calls", "finish_reason is not tool_calls")
    calls: Any = said.message.tool_calls
    same(calls[0].function.name, "get_weather", "another tool")
    same(orjson.loads(calls[0].function.arguments), {"city": "Seoul"}, "other arguments")
    true(calls[0].id, "no id")


@check
def tool_call_streamed(t: Target) -> None:
    name, arguments, _ = streamed_call(t, "weather", "auto")
    same(name, "get_weather", "another tool")
    same(orjson.loads(arguments), {"city": "Seoul"}, "other arguments")


@check
def tool_result_leads_on(t: Target) -> None:
    first = t.openai.chat.completions.create(
        model="local-chat", messages=user("weather"), tools=[WEATHER]
    ).choices[0].message  # fmt: skip
    calls: Any = first.tool_calls
    result = {"role": "tool", "tool_call_id": calls[0].id, "content": "sunny"}
    messages = [*user("weather"), first.model_dump(exclude_none=True), result]
    said = post(t, CHAT, messages=messages, tools=[WEATHER])
    same(said["choices"][0]["message"]["content"], SUNNY, "another text")


@check
def named_tool_is_called(t: Target) -> None:
    message: Any = forced(t, "weather", NAMED)
    names = [call.function.name for call in message.tool_calls or ()]
    same(names, ["list_files"], "the named tool is not called")


@check
def named_tool_is_called_streamed(t: Target) -> None:
    name, _, text = streamed_call(t, "weather", NAMED)
    same(name, "list_files", "the named tool is not called")
    same(text, "", "text beside the call")


@check
def required_tool_is_called(t: Target) -> None:
    message: Any = forced(t, "hi", "required")
    true(message.tool_calls, "no tool is called")


@check
def required_tool_is_called_streamed(t: Target) -> None:
    name, arguments, _ = streamed_call(t, "hi", "required")
    true(name, "no tool is called")
    true(arguments.lstrip().startswith("{"), "arguments are no object")


def forced(t: Target, said: str, choice: Any) -> Any:
    answer = t.openai.chat.completions.create(
        model="local-chat", messages=user(said), tools=[WEATHER, FILES], tool_choice=choice,
        max_tokens=60,
    )  # fmt: skip
    return answer.choices[0].message


def streamed_call(t: Target, said: str, choice: Any) -> tuple[str, str, str]:
    name = arguments = text = ""
    stream = t.openai.chat.completions.create(
        model="local-chat", messages=user(said), tools=[WEATHER, FILES], tool_choice=choice,
        max_tokens=60, stream=True,
    )  # fmt: skip
    for chunk in stream:
        for part in chunk.choices:
            text += part.delta.content or ""
            for call in part.delta.tool_calls or ():
                assert call.function
                name += call.function.name or ""
                arguments += call.function.arguments or ""
    return name, arguments, text


@check
def json_schema(t: Target) -> None:
    class Answer(pydantic.BaseModel):
        answer: int

    said = t.openai.chat.completions.parse(
        model="local-chat", messages=user("as JSON"), response_format=Answer
    )
    same(said.choices[0].message.parsed, Answer(answer=42), "not parsed")


@check
def json_object(t: Target) -> None:
    wanted = {"type": "json_object"}
    said = post(t, CHAT, messages=user("as JSON"), response_format=wanted)
    same(orjson.loads(said["choices"][0]["message"]["content"]), {"answer": 42}, "not JSON")


@check
def log_probabilities(t: Target) -> None:
    said = valid(ChatCompletion, post(t, CHAT, messages=user("hi"), logprobs=True, top_logprobs=3))
    logprobs = said.choices[0].logprobs
    true(logprobs and logprobs.content, "no logprobs")
    assert logprobs
    assert logprobs.content
    same(len(logprobs.content[0].top_logprobs), 3, "not 3 alternatives")


@check
def three_choices(t: Target) -> None:
    said = valid(ChatCompletion, post(t, CHAT, messages=user("hi"), n=3))
    same(sorted(c.index for c in said.choices), [0, 1, 2], "not 3 choices")


@check
def three_choices_streamed(t: Target) -> None:
    texts = ["", "", ""]
    for chunk in events(t, CHAT, messages=user("hi"), n=3):
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["delta"].get("content") or ""
    same(texts, [HELLO] * 3, "not 3 texts")


@check
def nine_stop_texts(t: Target) -> None:
    stop = [f"<{number}>" for number in range(8)] + ["scripted"]
    said = post(t, CHAT, messages=user("hi"), stop=stop)
    same(said["choices"][0]["message"]["content"], "Hello from the ", "the ninth is ignored")


@check
def content_as_parts(t: Target) -> None:
    parts = [{"type": "text", "text": "weath"}, {"type": "text", "text": "er 안녕"}]
    said = post(t, CHAT, messages=[{"role": "user", "content": parts}])
    same(said["choices"][0]["message"]["content"], KOREAN, "another text")


@check
def developer_role(t: Target) -> None:
    messages = [{"role": "developer", "content": "Be kind."}, *user("hi")]
    said = post(t, CHAT, messages=messages)
    same(said["choices"][0]["message"]["content"], HELLO, "another text")


@check
def max_completion_tokens(t: Target) -> None:
    said = post(t, CHAT, messages=user("forever"), max_completion_tokens=4)
    same(said["choices"][0]["finish_reason"], "length", "not cut")
    same(said["usage"]["completion_tokens"], 4, "not 4 tokens")


@check
def llama_cpps_own_fields_work(t: Target) -> None:
    said = post(t, CHAT, messages=user("hi"), top_k=1, min_p=0.1, cache_prompt=True)
    true(said.get("timings"), "the timings are lost")


@check
def streamed_timings(t: Target) -> None:
    true(events(t, CHAT, messages=user("hi"))[-1].get("timings"), "the timings are lost")


@check
def unknown_fields_are_ignored(t: Target) -> None:
    said = post(t, CHAT, messages=user("hi"), store=False, metadata={"a": "b"}, user="me")
    same(said["choices"][0]["message"]["content"], HELLO, "another text")


@check
def hundred_equal_chunks_are_no_loop(t: Target) -> None:
    said = events(t, CHAT, messages=user("forever"), max_tokens=900)
    finish = [c["choices"][0].get("finish_reason") for c in said if c.get("choices")]
    true("length" in finish, "the stream was broken off")


@check
def path_without_v1(t: Target) -> None:
    said = post(t, "/chat/completions", messages=user("hi"))
    same(said["choices"][0]["message"]["content"], HELLO, "another text")
