"""Rewriting a conversation for what a template can take: pure, so tried on any conversation."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from histories import HISTORIES, assistant, call, calls, result, system, user
from hypothesis import assume, given
from hypothesis import strategies as st

from local_ai_suite.templates import Abilities, translate

Message = dict[str, Any]

ALL = Abilities()
STRICT = Abilities(
    leading_systems=False, late_system=False, repeated_turns=False, assistant_first=False,
    no_user=False, text_parts=False, tool_ids="nine", parallel_calls=False,
    user_after_result=False, late_result=False, lone_result=False, unanswered_call=False,
)  # fmt: skip
TOOLLESS = replace(STRICT, tool_history=False)

_texts = st.text("abc ", min_size=1, max_size=4)
_ids = st.sampled_from(["a", "call_1", "abcdefgh1", ""])
_messages = st.one_of(
    st.builds(system, _texts),
    st.builds(user, _texts),
    st.builds(assistant, _texts),
    st.builds(result, _ids, _texts),
    st.builds(
        lambda ids, text: calls(*(call(id_, '{"q": 1}') for id_ in ids), content=text),
        st.lists(_ids, min_size=1, max_size=3, unique=True),
        _texts,
    ),
)
_conversations = st.lists(_messages, max_size=9)
_flags = [name for name, value in ALL.as_dict().items() if value is True]
_abilities = st.builds(
    lambda off, ids: Abilities(**dict.fromkeys(off, False), tool_ids=ids),
    st.sets(st.sampled_from(_flags)),
    st.sampled_from(["any", "nine"]),
)


def roles(messages: list[Message]) -> list[str]:
    return [message["role"] for message in messages]


def changed(messages: list[Message], **abilities: Any) -> list[Message]:
    return translate(messages, replace(ALL, **abilities)).messages


@given(_conversations)
def test_a_strict_template_gets_turns_that_alternate(messages: list[Message]) -> None:
    assume(not _waits(messages))  # calls at the very end: no engine continues them
    made = translate(messages, STRICT).messages
    body = made[1:] if made and made[0]["role"] == "system" else made
    assert "system" not in roles(body)
    if body:
        assert body[0]["role"] == "user"
    for before, after in pairwise(body):
        if before.get("tool_calls"):
            assert after["role"] == "tool"
            assert after["tool_call_id"] == before["tool_calls"][0]["id"]
        elif before["role"] == "tool":
            assert after["role"] == "assistant"
        else:
            assert before["role"] != after["role"]
    for message in body:
        assert len(message.get("tool_calls", [])) < 2


@given(_conversations)
def test_a_template_without_tools_gets_their_words_in_turn(messages: list[Message]) -> None:
    made = translate(messages, TOOLLESS).messages
    assert "tool" not in roles(made)
    assert not any("tool_calls" in message for message in made)
    body = made[1:] if made and made[0]["role"] == "system" else made
    assert all(before != after for before, after in pairwise(roles(body)))


@given(_conversations, _abilities)
def test_the_prompt_cache_holds_from_turn_to_turn(messages: list[Message], able: Abilities) -> None:
    """What was sent before an assistant's turn is the beginning of what is sent after it."""
    whole = translate(messages, able).messages
    for number, message in enumerate(messages):
        before = messages[:number]
        if message["role"] != "assistant" or not before or before[-1]["role"] == "assistant":
            continue
        if not any(other["role"] == "user" for other in before) and not able.no_user:
            continue  # an empty user's turn is made where there is none yet
        sent = translate(before, able).messages
        assert whole[: len(sent)] == sent


def _waits(messages: list[Message]) -> list[str]:
    return [call["id"] for message in messages[-1:] for call in message.get("tool_calls", [])]


@given(_conversations, _abilities)
def test_what_was_translated_needs_no_translation(messages: list[Message], able: Abilities) -> None:
    once = translate(messages, able).messages
    assert translate(once, able).messages == once


@given(_conversations, _abilities)
def test_no_text_is_lost_and_the_input_stays_as_it_is(
    messages: list[Message], able: Abilities
) -> None:
    before = json.dumps(messages)
    made = json.dumps(translate(messages, able).messages)
    assert json.dumps(messages) == before
    for message in messages:
        for line in message["content"].splitlines():
            assert json.dumps(line)[1:-1] in made


@pytest.mark.parametrize(
    "history",
    [h for h in HISTORIES if h.name in {
        "one user turn", "system first", "system in the middle", "system twice", "user twice",
        "assistant first", "assistant last", "content parts", "call and result", "long id",
        "parallel calls", "result with text beside it", "unanswered call", "tool offered",
        "an image for a text model",
    }],
    ids=lambda history: history.name,
)  # fmt: skip
def test_a_template_that_takes_everything_gets_what_was_sent(history: Any) -> None:
    made = translate(history.messages, ALL)
    assert made.messages == list(history.messages)
    assert made.changes == ()


def test_a_late_system_message_joins_the_users_turn_that_follows() -> None:
    history = [system("S"), user("A"), assistant("B"), system("L"), user("C")]
    made = translate(history, replace(ALL, late_system=False))
    assert made.messages == [system("S"), user("A"), assistant("B"), user("L\n\nC")]
    assert made.changes == ("late-system",)


def test_a_late_system_message_at_the_end_joins_the_users_turn_before() -> None:
    history = [user("A"), assistant("B"), user("C"), system("L")]
    assert changed(history, late_system=False)[-1] == user("C\n\nL")


def test_a_late_system_message_after_a_result_is_a_turn_or_part_of_the_result() -> None:
    history = [user("A"), calls(call("i", "{}")), result("i", "R"), system("L")]
    assert changed(history, late_system=False)[-2:] == [result("i", "R"), user("L")]
    joined = changed(history, late_system=False, user_after_result=False)
    assert joined[-1] == result("i", "R\n\nL")


def test_system_messages_at_the_start_become_one() -> None:
    history = [system("S"), {"role": "developer", "content": "D"}, user("A")]
    assert changed(history, leading_systems=False) == [system("S\n\nD"), user("A")]


def test_an_images_part_survives_a_join() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    history = [user("A"), user([picture, {"type": "text", "text": "B"}])]
    made = changed(history, repeated_turns=False)
    assert made == [
        user([{"type": "text", "text": "A"}, picture, {"type": "text", "text": "B"}])
    ]  # fmt: skip


def test_ids_are_mapped_alike_in_call_and_result_and_kept_where_they_fit() -> None:
    history = [user("A"), calls(call("call_1", "{}"), call("abcDEF123", "{}")),
               result("call_1", "R"), result("abcDEF123", "Q")]  # fmt: skip
    made = changed(history, tool_ids="nine")
    first, second = (one["id"] for one in made[1]["tool_calls"])
    assert len(first) == 9
    assert first.isalnum()
    assert second == "abcDEF123"
    assert [made[2]["tool_call_id"], made[3]["tool_call_id"]] == [first, second]


def test_parallel_calls_become_turns_with_their_own_results() -> None:
    history = [user("A"), calls(call("x", "{}"), call("y", "{}"), content="T"),
               result("y", "Y"), result("x", "X")]  # fmt: skip
    assert changed(history, parallel_calls=False) == [
        user("A"), calls(call("x", "{}"), content="T"), result("x", "X"),
        calls(call("y", "{}")), result("y", "Y"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        ("", {}),
        ("  ", {}),
        ("null", {}),
        (None, {}),
        ('{"a": 1}', {"a": 1}),
        ('{"a":', {"arguments": '{"a":'}),
        ("plain text", {"arguments": "plain text"}),
        ("[1]", {"arguments": [1]}),
        ("7", {"arguments": 7}),
        ('{"a": NaN}', {"arguments": '{"a": NaN}'}),
        ("[" * 100_000, {"arguments": "[" * 100_000}),
    ],
)
def test_arguments_of_earlier_calls_are_always_an_object(given: Any, whole: Any) -> None:
    made = translate([user("A"), calls(call("i", given)), result("i", "R")], None).messages
    assert json.loads(made[1]["tool_calls"][0]["function"]["arguments"]) == whole


def test_arguments_that_are_an_object_keep_their_bytes() -> None:
    given = '{"n": 123456789012345678901234567890, "a":1.10}'
    made = translate([calls(call("i", given))], STRICT).messages
    assert given in [m["tool_calls"][0]["function"]["arguments"] for m in made if "tool_calls" in m]


def test_a_message_that_is_no_object_is_left_for_the_engine_to_refuse() -> None:
    assert translate(["text", user("A")], STRICT).messages == ["text", user("A")]  # type: ignore[list-item]
