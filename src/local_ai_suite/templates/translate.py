"""Rewrites a conversation that a template would refuse, or of which it would lose a part.

A conversation is a list of OpenAI's chat messages, as llama.cpp reads them (``common/chat.cpp``,
``common_chat_msgs_parse_oaicompat``). Content parts that are no text pass through as they are.

Every rule looks only at what stands between two turns of the assistant. So a longer history begins
with what a shorter one became, and the engine's prompt cache holds from turn to turn.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from . import repairs
from .conversation import (
    SYSTEM_ROLES,
    calls_of,
    function_of,
    is_text,
    joined,
    joined_turns,
    leading_systems,
    result_for,
    result_text,
    role_of,
    spans,
    without_calls,
)
from .ids import nine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .abilities import Abilities
    from .conversation import Message

    Step = Callable[[list[Message]], list[Message]]

NO_RESULT = "No result."
"""Stands where a client sent no result of a call, for templates that need one."""


@dataclass(frozen=True, slots=True)
class Translated:
    """The conversation to send, and the names of what was changed (empty: nothing was)."""

    messages: list[Message]
    changes: tuple[str, ...]


def translate(messages: Sequence[Message], abilities: Abilities | None) -> Translated:
    """``messages`` for a template with ``abilities``; where these are unknown, only what no
    template takes is put right.

    The input is never changed. A message that is no object, or a content that is neither text nor
    parts, is left for the engine to refuse.
    """
    now = list(messages)
    changes: list[str] = []
    if not all(isinstance(message, dict) for message in now):
        return Translated(now, ())
    for rule in _rules():
        if rule.is_for is None or (abilities is not None and rule.is_for(abilities)):
            after = rule.step(now)
            if after != now:
                changes.append(rule.name)
                now = after
    return Translated(now, tuple(changes))


@dataclass(frozen=True, slots=True)
class _Rule:
    """A step of the rewriting; ``is_for`` says which templates need it (``None``: all of them)."""

    name: str
    step: Step
    is_for: Callable[[Abilities], bool] | None = None


@cache
def _rules() -> tuple[_Rule, ...]:
    """In their order: the later ones see what the earlier ones made."""
    return (
        _Rule("nulls", repairs.without_nulls),
        _Rule("parts", repairs.known_parts),
        _Rule("arguments", repairs.whole_arguments),
        _Rule("function-role", repairs.without_function_role),
        _Rule("missing-ids", repairs.with_ids),
        _Rule("text-parts", _one_text, lambda able: not able.text_parts),
        _Rule("systems", _one_leading_system, lambda able: not able.leading_systems),
        _Rule("late-system", _late_systems_as_user, lambda able: not able.late_system),
        _Rule("tool-history", _tools_as_text, lambda able: not able.tool_history),
        _Rule("lone-results", _lone_results_as_user, lambda able: not able.lone_result),
        _Rule("late-results", _results_after_calls, lambda able: not able.late_result),
        _Rule("unanswered-calls", _answered, lambda able: not able.unanswered_call),
        _Rule("split-calls", _one_call_a_turn, lambda able: not able.parallel_calls),
        _Rule("tool-ids", _nine_letter_ids, lambda able: able.tool_ids == "nine"),
        _Rule("text-beside-result", _text_into_result, lambda able: not able.user_after_result),
        _Rule("no-user", _with_user, lambda able: not able.no_user),
        _Rule("assistant-first", _user_first, lambda able: not able.assistant_first),
        _Rule("joined-turns", joined_turns, lambda able: not able.repeated_turns),
        _Rule("joined-prefill", repairs.one_prefill),
    )


def _one_text(messages: list[Message]) -> list[Message]:
    """Parts that are all text become one, with a line break between them, as llama.cpp joins
    them."""
    return [
        {**message, "content": "\n".join(part["text"] for part in content)}
        if isinstance(content := message.get("content"), list) and all(map(is_text, content))
        else message
        for message in messages
    ]


def _one_leading_system(messages: list[Message]) -> list[Message]:
    count = leading_systems(messages)
    if count < 2:
        return messages
    first = messages[0]
    for message in messages[1:count]:
        first = joined(first, message)
    return [first, *messages[count:]]


def _late_systems_as_user(messages: list[Message]) -> list[Message]:
    """A late system message joins the user's turn that follows it, else the one before it."""
    count = leading_systems(messages)
    made = messages[:count]
    position = count
    while position < len(messages):
        run = position
        while run < len(messages) and role_of(messages[run]) in {"user", *SYSTEM_ROLES}:
            run += 1
        if run == position:
            made.append(messages[position])
            position += 1
        else:
            made += _folded(messages[position:run])
            position = run
    return made


def _folded(run: list[Message]) -> list[Message]:
    """``run`` holds user and system messages only; each system message becomes part of a user's."""
    made: list[Message] = []
    waiting: Message | None = None
    for message in run:
        if role_of(message) != "user":
            text = {"role": "user", "content": message.get("content")}
            waiting = text if waiting is None else joined(waiting, text)
        elif waiting is not None:
            made.append(joined(waiting, message, keep=message))
            waiting = None
        else:
            made.append(message)
    if waiting is not None:
        if made:
            made[-1] = joined(made[-1], waiting)
        else:
            made.append(waiting)
    return made


def _tools_as_text(messages: list[Message]) -> list[Message]:
    """For a template that knows no tools: what was called, and what came of it, in words."""
    made: list[Message] = []
    names: dict[str, str] = {}
    for message in messages:
        if calls := calls_of(message):
            names.update({str(call.get("id")): function_of(call).get("name", "") for call in calls})
            said = "\n".join(
                f"{function_of(call).get('name', '')}({_arguments(call)})" for call in calls
            )
            text = {"role": "assistant", "content": said}
            made.append(joined(without_calls(message), text))
        elif role_of(message) == "tool":
            name = names.get(str(message.get("tool_call_id")), "")
            said = f"{name} returned:" if name else "The tool returned:"
            made.append(
                joined(
                    {"role": "user", "content": said},
                    {"role": "user", "content": message.get("content")},
                )
            )
        else:
            made.append(message)
    return made


def _arguments(call: dict[str, Any]) -> str:
    given = function_of(call).get("arguments", "")
    return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def _results_after_calls(messages: list[Message]) -> list[Message]:
    """Results right after their calls; what stood between comes after them."""
    made: list[Message] = []
    for part in spans(messages):
        if part and calls_of(part[0]):
            results = [message for message in part[1:] if role_of(message) == "tool"]
            others = [message for message in part[1:] if role_of(message) != "tool"]
            made += [part[0], *results, *others]
        else:
            made += part
    return made


def _lone_results_as_user(messages: list[Message]) -> list[Message]:
    """A result of no call in the assistant's last turn is the user's text."""
    made: list[Message] = []
    for part in spans(messages):
        waiting = [call.get("id") for call in calls_of(part[0])] if part else []
        for message in part:
            if role_of(message) != "tool":
                made.append(message)
            elif (id_ := message.get("tool_call_id")) in waiting:
                waiting.remove(id_)
                made.append(message)
            else:
                made.append({"role": "user", "content": result_text(message)})
    return made


def _answered(messages: list[Message]) -> list[Message]:
    """A result for every call of a turn that others have followed."""
    made: list[Message] = []
    parts = spans(messages)
    for number, part in enumerate(parts):
        calls = calls_of(part[0]) if part else []
        last = number + 1 == len(parts)
        if not calls or (last and len(part) == 1):
            made += part
            continue
        results = [message for message in part[1:] if role_of(message) == "tool"]
        given = {message.get("tool_call_id") for message in results}
        missing = [call for call in calls if call.get("id") not in given]
        end = 1 + max((n for n, m in enumerate(part[1:], 1) if role_of(m) == "tool"), default=0)
        none = [result_for(call, NO_RESULT) for call in missing]
        made += [*part[:end], *none, *part[end:]]
    return made


def _one_call_a_turn(messages: list[Message]) -> list[Message]:
    """Parallel calls become one after the other, each with its result."""
    made: list[Message] = []
    for part in spans(messages):
        calls = calls_of(part[0]) if part else []
        if len(calls) < 2:
            made += part
            continue
        results = [message for message in part[1:] if role_of(message) == "tool"]
        others = [message for message in part[1:] if role_of(message) != "tool"]
        for number, call in enumerate(calls):
            turn = part[0] if number == 0 else {"role": "assistant", "content": ""}
            made.append({**turn, "tool_calls": [call]})
            mine = next((m for m in results if m.get("tool_call_id") == call.get("id")), None)
            if mine is None and results and number < len(calls) - 1:
                mine = result_for(call, NO_RESULT)
            if mine is not None:
                made.append(mine)
                results = [message for message in results if message is not mine]
        made += [*results, *others]
    return made


def _nine_letter_ids(messages: list[Message]) -> list[Message]:
    made: list[Message] = []
    for message in messages:
        if calls := calls_of(message):
            made.append({
                **message, "tool_calls": [{**call, "id": nine(call.get("id"))} for call in calls]
            })  # fmt: skip
        elif role_of(message) == "tool":
            made.append({**message, "tool_call_id": nine(message.get("tool_call_id"))})
        else:
            made.append(message)
    return made


def _text_into_result(messages: list[Message]) -> list[Message]:
    """What a user says right after a tool's result joins that result."""
    made: list[Message] = []
    for message in messages:
        if made and role_of(made[-1]) == "tool" and role_of(message) == "user":
            made[-1] = joined(made[-1], message)
        else:
            made.append(message)
    return made


def _with_user(messages: list[Message]) -> list[Message]:
    """An empty user's turn where there is none at all."""
    if any(role_of(message) == "user" for message in messages):
        return messages
    count = leading_systems(messages)
    return [*messages[:count], {"role": "user", "content": ""}, *messages[count:]]


def _user_first(messages: list[Message]) -> list[Message]:
    """An empty user's turn before an assistant that begins."""
    count = leading_systems(messages)
    if count == len(messages) or role_of(messages[count]) == "user":
        return messages
    return [*messages[:count], {"role": "user", "content": ""}, *messages[count:]]
