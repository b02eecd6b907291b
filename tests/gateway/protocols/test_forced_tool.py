"""A tool choice that forces a call: what llama.cpp makes of it, and what the gateway does."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import httpx
import openai
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from translating_transport import OTHER, asked, is_untouched

from local_ai_suite.gateway.protocols.errors import Refused
from local_ai_suite.gateway.protocols.forced_tool import CallReader

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageFunctionToolCall

    from local_ai_suite.gateway.protocols import Asked

CHAT = "/v1/chat/completions"
MOST = 60


def tool(name: str, parameter: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {parameter: {"type": "string", "maxLength": 20}},
        "required": [parameter],
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "parameters": schema}}


TOOLS = [tool("get_weather", "city"), tool("list_files", "path")]
FILES = {"type": "function", "function": {"name": "list_files"}}


def ask(client: openai.OpenAI, said: str, choice: Any, **more: Any) -> Any:
    return client.chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": said}],
        tools=TOOLS,  # type: ignore[arg-type]
        tool_choice=choice,
        max_tokens=MOST,
        **more,
    )


def streamed_call(client: openai.OpenAI, said: str, choice: Any) -> tuple[str, str, str | None]:
    """Name, arguments and finish reason of the first choice."""
    name, arguments, finish = "", "", None
    for chunk in ask(client, said, choice, stream=True):
        for part in chunk.choices:
            assert not part.delta.content
            finish = part.finish_reason or finish
            for call in part.delta.tool_calls or ():
                name += call.function.name or ""
                arguments += call.function.arguments or ""
    return name, arguments, finish


def test_flaw_the_engine_takes_a_named_choice_for_auto(bare: openai.OpenAI) -> None:
    assert ask(bare, "weather", FILES).choices[0].message.tool_calls[0].function.name != (
        "list_files"
    )
    assert not ask(bare, "hi", FILES).choices[0].message.tool_calls


def test_flaw_the_engine_lets_a_required_call_begin_with_talk(bare: openai.OpenAI) -> None:
    assert not ask(bare, "hi", "required").choices[0].message.tool_calls


def test_a_named_function_is_called(translated: openai.OpenAI) -> None:
    choice = ask(translated, "weather", FILES).choices[0]
    call: ChatCompletionMessageFunctionToolCall = choice.message.tool_calls[0]
    assert call.function.name == "list_files"
    assert choice.message.content is None
    assert call.id
    assert '"path"' in call.function.arguments


def test_a_named_function_that_the_model_means_has_its_own_arguments(
    translated: openai.OpenAI,
) -> None:
    named = {"type": "function", "function": {"name": "get_weather"}}
    name, arguments, _ = streamed_call(translated, "hi", named)
    assert name == "get_weather"
    assert arguments.lstrip().startswith("{")


def test_a_required_call_is_made_whatever_was_said(translated: openai.OpenAI) -> None:
    message = ask(translated, "hi", "required").choices[0].message
    assert message.tool_calls[0].function.name in {"get_weather", "list_files"}
    assert message.content is None


@pytest.mark.parametrize("choice", [FILES, "required"], ids=["named", "required"])
def test_a_forced_call_streams_as_deltas(translated: openai.OpenAI, choice: Any) -> None:
    name, arguments, finish = streamed_call(translated, "weather", choice)
    assert name in {"get_weather", "list_files"}
    assert arguments.lstrip().startswith("{")
    assert finish in {"tool_calls", "length"}


def body_for(choice: Any) -> bytes:
    request = {"model": "local-chat", "messages": [], "tools": TOOLS, "tool_choice": choice}
    return orjson.dumps(request)


def asked_for(choice: Any) -> Asked:
    return asked(CHAT, body_for(choice))


@pytest.mark.parametrize("choice", ["auto", "none", None])
def test_a_choice_that_forces_nothing_is_the_engines_own(choice: Any) -> None:
    body = body_for(choice)
    assert is_untouched(asked(CHAT, body), body)


def test_a_function_that_is_not_offered_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        asked_for({"type": "function", "function": {"name": "nobody"}})
    assert refused.value.http_status == 400
    assert refused.value.error["param"] == "tool_choice"


def test_the_model_is_shown_the_named_function_alone() -> None:
    request = orjson.loads(asked_for(FILES).body())
    assert [t["function"]["name"] for t in request["tools"]] == ["list_files"]


def test_allowed_tools_are_the_only_ones_that_are_offered() -> None:
    allowed = {"mode": "auto", "tools": [FILES]}
    found = asked_for({"type": "allowed_tools", "allowed_tools": allowed})
    request = orjson.loads(found.body())
    assert [t["function"]["name"] for t in request["tools"]] == ["list_files"]
    assert request["tool_choice"] == "auto"


def completion(text: str, finish: str = "stop") -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return orjson.dumps({"choices": [choice], "model": "local-chat"})


def test_a_call_that_was_cut_keeps_its_reason() -> None:
    answer = orjson.loads(asked_for(FILES).answer(completion('{"path": "a', "length")))
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"path": "a'


@given(
    st.dictionaries(st.text(), st.text() | st.dictionaries(st.text(), st.booleans())),
    st.lists(st.integers(0, 400), max_size=10),
    st.sampled_from(["", " ", "\n "]),
)
def test_a_wrapped_call_is_read_whatever_its_arguments_and_cuts(
    arguments: dict[str, Any], cuts: list[int], blank: str
) -> None:
    inner = orjson.dumps(arguments).decode()
    text = f'{{{blank}"name":{blank}"list_files",{blank}"arguments":{blank}{inner}{blank}}}{blank}'
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    reader = CallReader(None)
    said = "".join(piece for a, b in pairwise(edges) for piece in reader.feed(text[a:b]))
    assert reader.name == "list_files"
    assert orjson.loads(said) == arguments


def use(name: str, parameter: str) -> dict[str, Any]:
    schema = tool(name, parameter)["function"]["parameters"]
    return {"name": name, "input_schema": schema}


USES = {
    "model": "gpt-4o",
    "max_tokens": 60,
    "messages": [{"role": "user", "content": "weather"}],
    "tools": [use("get_weather", "city"), use("list_files", "path")],
    "tool_choice": {"type": "tool", "name": "list_files", "disable_parallel_tool_use": True},
}


def test_flaw_the_engine_uses_another_tool_than_the_one_that_messages_name(
    bare_http: httpx.Client,
) -> None:
    content = bare_http.post("/v1/messages", json=USES).json()["content"]
    assert content[0]["name"] == "get_weather"


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_that_messages_name_is_the_only_one_that_is_offered(
    translated_http: httpx.Client, *, stream: bool
) -> None:
    answer = translated_http.post("/v1/messages", json={**USES, "stream": stream})
    assert answer.status_code == 200
    assert '"model":"gpt-4o"' in answer.text
    assert "get_weather" not in answer.text


def test_a_tool_that_messages_name_and_do_not_offer_is_refused() -> None:
    with pytest.raises(Refused, match="list_files"):
        asked("/v1/messages", orjson.dumps({**USES, "tools": []}), OTHER)
