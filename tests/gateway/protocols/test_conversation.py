"""Conversations of a request made to fit a chat template, in each protocol's own shape."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_ai_suite.gateway.protocols import ENDPOINTS, Request, Target, ask
from local_ai_suite.gateway.protocols.anthropic_turns import AnthropicTurns
from local_ai_suite.gateway.protocols.conversation import any_template_takes, fit
from local_ai_suite.templates import EVERYTHING_REFUSED, Abilities, translate

Body = dict[str, Any]
TAKES_ALL = Abilities()


class KnownTemplate:
    """A template whose abilities are known, or can be found out once."""

    def __init__(self, abilities: Abilities | None, learned: Abilities | None = None) -> None:
        self.abilities = abilities
        self.asked = 0
        self._learned = learned

    async def learn(self) -> Abilities | None:
        self.asked += 1
        return self._learned


def fitted(path: str, body: Body | bytes, template: KnownTemplate) -> tuple[bytes, tuple[str, ...]]:
    """What the engine gets for ``body``, and what was changed."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = ask(ENDPOINTS, ENDPOINTS[path], Request.read(raw), Target("m", "m"))
    changes = asyncio.run(fit(asked, template))
    return asked.body(), changes


def chat(*messages: Body) -> Body:
    return {"model": "m", "messages": list(messages)}


def turn(role: str, content: Any, **more: Any) -> Body:
    return {"role": role, "content": content, **more}


LATE_SYSTEM = chat(
    turn("system", "S"), turn("user", "A"), turn("assistant", "B"),
    turn("system", "L"), turn("user", "C"),
)  # fmt: skip


def test_what_a_template_takes_goes_out_in_the_clients_own_bytes() -> None:
    raw = json.dumps(LATE_SYSTEM, indent=3).encode()
    assert fitted("/v1/chat/completions", raw, KnownTemplate(TAKES_ALL)) == (raw, ())


def test_what_it_refuses_is_rewritten_and_told() -> None:
    body, changes = fitted("/v1/chat/completions", LATE_SYSTEM, KnownTemplate(EVERYTHING_REFUSED))
    assert changes == ("late-system",)
    assert [m["content"] for m in json.loads(body)["messages"]] == ["S", "A", "B", "L\n\nC"]


def test_a_template_is_asked_about_only_where_it_matters() -> None:
    plain = chat(turn("system", "S"), turn("user", "A"))
    template = KnownTemplate(None, EVERYTHING_REFUSED)
    assert fitted("/v1/chat/completions", plain, template)[1] == ()
    assert template.asked == 0
    assert fitted("/v1/chat/completions", LATE_SYSTEM, template)[1] == ("late-system",)
    assert template.asked == 1


def test_of_an_unknown_template_only_what_none_takes_is_put_right() -> None:
    raw = json.dumps(LATE_SYSTEM).encode()
    assert fitted("/v1/chat/completions", raw, KnownTemplate(None)) == (raw, ())
    broken = chat(
        turn("user", "A"),
        turn("assistant", None, tool_calls=[
            {"id": "i", "type": "function", "function": {"name": "f", "arguments": '{"a":'}},
        ]),
        turn("tool", "R", tool_call_id="i"),
    )  # fmt: skip
    body, changes = fitted("/v1/chat/completions", broken, KnownTemplate(None))
    assert changes == ("arguments",)
    [call] = json.loads(body)["messages"][1]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"arguments": '{"a":'}


def test_every_digit_of_the_rest_of_the_request_stays() -> None:
    raw = json.dumps({**LATE_SYSTEM, "seed": 12345678901234567890123}).encode()
    body, _ = fitted("/v1/chat/completions", raw, KnownTemplate(EVERYTHING_REFUSED))
    assert b'"seed":12345678901234567890123' in body


@pytest.mark.parametrize("messages", ["text", 7, None, ["text"], [{"role": 7}], [[]]])
def test_what_cannot_be_read_is_left_for_the_engine_to_refuse(messages: Any) -> None:
    for path in ("/v1/chat/completions", "/v1/messages"):
        raw = json.dumps({"model": "m", "messages": messages}).encode()
        body, _ = fitted(path, raw, KnownTemplate(EVERYTHING_REFUSED))
        assert json.loads(body)["messages"] is not None or body == raw


def test_responses_and_ollama_are_fitted_as_the_chat_that_they_become() -> None:
    items = [{**message, "type": "message"} for message in LATE_SYSTEM["messages"]]
    template = KnownTemplate(EVERYTHING_REFUSED)
    body, changes = fitted("/v1/responses", {"model": "m", "input": items}, template)
    assert changes == ("late-system",)
    assert json.loads(body)["messages"][-1]["content"] == "L\n\nC"
    body, changes = fitted("/api/chat", LATE_SYSTEM, template)
    assert changes == ("late-system",)
    assert json.loads(body)["messages"][-1]["content"] == "L\n\nC"


def test_tools_get_types_where_the_template_needs_them() -> None:
    optional = {"type": "object", "properties": {"q": {"anyOf": [{"type": "string"}]}}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": optional}}]
    request = {**chat(turn("user", "A")), "tools": tools}
    raw = json.dumps(request).encode()
    assert fitted("/v1/chat/completions", raw, KnownTemplate(TAKES_ALL)) == (raw, ())
    template = KnownTemplate(Abilities(loose_schemas=False))
    body, changes = fitted("/v1/chat/completions", raw, template)
    assert changes == ("typed-parameters",)
    made = json.loads(body)["tools"][0]["function"]["parameters"]["properties"]["q"]
    assert made == {"anyOf": [{"type": "string"}], "type": "string"}


def test_a_conversation_of_nothing_gets_a_turn_where_the_template_wants_one() -> None:
    raw = json.dumps(chat()).encode()
    assert fitted("/v1/chat/completions", raw, KnownTemplate(TAKES_ALL)) == (raw, ())
    body, changes = fitted("/v1/chat/completions", raw, KnownTemplate(Abilities(no_user=False)))
    assert changes == ("no-user",)
    assert json.loads(body)["messages"] == [turn("user", "")]


# Anthropic's shape

CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"n": 1}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "R", "is_error": True}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}


def anthropic(*turns: Body, **more: Any) -> Body:
    return {"model": "m", "max_tokens": 9, "messages": list(turns), **more}


def text(said: str, **more: Any) -> Body:
    return {"type": "text", "text": said, **more}


def test_turns_that_are_read_and_written_back_are_the_same() -> None:
    request = anthropic(
        turn("user", [text("A", cache_control={"type": "ephemeral"}), IMAGE]),
        turn("assistant", [
            {"type": "thinking", "thinking": "T", "signature": ""}, text("B"), CALL
        ]),
        turn("user", [RESULT]),
        turn("assistant", "C"),
        turn("user", "D"),
        system="S",
    )  # fmt: skip
    made: Body = {"system": None}
    form = AnthropicTurns()
    form.write(made, form.read(request))
    assert made == {"system": "S", "messages": request["messages"]}


def test_text_beside_a_result_follows_it_where_the_template_wants_results_first() -> None:
    request = anthropic(
        turn("user", "A"), turn("assistant", [CALL]), turn("user", [RESULT, text("B")])
    )
    able = Abilities(late_result=False)
    body, changes = fitted("/v1/messages", request, KnownTemplate(able))
    assert changes == ("late-results",)
    assert json.loads(body)["messages"][2:] == [turn("user", [RESULT]), turn("user", [text("B")])]
    joined, changes = fitted(
        "/v1/messages",
        request,
        KnownTemplate(Abilities(late_result=False, user_after_result=False)),
    )
    assert "text-beside-result" in changes
    assert json.loads(joined)["messages"][2:] == [
        turn("user", [{**RESULT, "content": [text("R"), text("B")]}])
    ]


def test_a_system_message_among_the_turns_is_folded() -> None:
    request = anthropic(
        turn("user", "A"), turn("assistant", "B"), turn("system", "L"), turn("user", "C"),
        system=[text("S"), text("T")],
    )  # fmt: skip
    body, changes = fitted("/v1/messages", request, KnownTemplate(Abilities(late_system=False)))
    assert changes == ("late-system",)
    made = json.loads(body)
    assert made["messages"][-1] == turn("user", "L\n\nC")
    assert made["system"] == "ST"


def test_an_input_that_is_no_object_becomes_one() -> None:
    request = anthropic(
        turn("user", "A"), turn("assistant", [{**CALL, "input": "cut"}]), turn("user", [RESULT])
    )
    body, changes = fitted("/v1/messages", request, KnownTemplate(TAKES_ALL))
    assert changes == ("arguments",)
    assert json.loads(body)["messages"][1]["content"][0]["input"] == {"arguments": "cut"}


_TURNS = st.builds(
    lambda role, content, more: {"role": role, "content": content, **more},
    st.sampled_from(["system", "user", "assistant", "tool", "developer"]),
    st.sampled_from(["a", "b c", "", None, [{"type": "text", "text": "x"}]]),
    st.sampled_from([{}, {}, {}, {"name": "n"}, {"tool_calls": []}]),
)
_PLAIN = st.integers(0, 4).map(
    lambda turns: [
        turn("user" if number % 2 == 0 else "assistant", f"text {number}")
        for number in range(2 * turns + 1)
    ]
)


@given(st.lists(_TURNS, max_size=5) | _PLAIN, st.sampled_from([None, EVERYTHING_REFUSED]))
def test_what_is_not_looked_at_closely_needs_no_change_for_any_template(
    messages: list[Body], able: Abilities | None
) -> None:
    if any_template_takes(messages):
        assert translate(messages, able).changes == ()


@given(_PLAIN, st.booleans())
def test_a_plain_talk_is_not_looked_at_closely(messages: list[Body], with_system: bool) -> None:
    system = [turn("system", "Be kind.")] if with_system else []
    assert any_template_takes([*system, *messages])
    assert not any_template_takes([*system, *messages, turn("user", "again")])
