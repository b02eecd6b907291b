"""Small conversations whose rendered prompts show what a chat template does with them.

Each probe is a body for llama.cpp's ``POST /apply-template``, which renders without generating.
The texts in it are words that no template contains: a template may refuse a conversation, and it
may also render it without a part of it, or in another order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]

# Mistral's templates take ids of nine letters and digits only; all others take these as well.
ID, OTHER_ID = "laisCall1", "laisCall2"
LONG_ID = "call_LaisProbe0123456789:0"

SYSTEM, LATE, USER, MORE, SAID, AGAIN, ASKED, OTHER, GOT, FOUND, THOUGHT, TOOL = (
    f"lais{name}" for name in (
        "System", "Late", "User", "More", "Said", "Again", "Asked", "Other", "Got", "Found",
        "Thought", "Tool",
    )
)  # fmt: skip


def _system(text: str) -> Message:
    return {"role": "system", "content": text}


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _assistant(text: str, **more: Any) -> Message:
    return {"role": "assistant", "content": text, **more}


def _calls(*calls: tuple[str, str]) -> Message:
    made = [
        {"id": id_, "type": "function",
         "function": {"name": TOOL, "arguments": f'{{"q": "{asked}"}}'}}
        for id_, asked in calls
    ]  # fmt: skip
    return {"role": "assistant", "content": "", "tool_calls": made}


def _result(id_: str, text: str) -> Message:
    return {"role": "tool", "tool_call_id": id_, "content": text}


def _parts(role: str, *texts: str, **more: Any) -> Message:
    return {"role": role, "content": [{"type": "text", "text": text} for text in texts], **more}


_TOOLS = [{
    "type": "function",
    "function": {
        "name": TOOL,
        "description": "Looks something up.",
        "parameters": {
            "type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"],
        },
    },
}]  # fmt: skip
# As Pydantic writes an optional parameter, and as tools by hand leave types out.
_LOOSE = [{
    "type": "function",
    "function": {
        "name": TOOL,
        "description": "Looks something up.",
        "parameters": {
            "type": "object",
            "properties": {
                "a": {}, "b": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "c": {"type": "array"}, "d": {"type": "object"}, "e": {"enum": ["x", 1]},
                "f": {"type": "array", "items": {}},
            },
        },
    },
}]  # fmt: skip
_CALL = (_user(USER), _calls((ID, ASKED)))


@dataclass(frozen=True)
class Probe:
    """A conversation, and the words that its prompt must hold, in this order."""

    messages: tuple[Message, ...]
    words: tuple[str, ...]
    more: dict[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The request's body, without a model."""
        return {"messages": list(self.messages), **self.more}

    def is_kept_in(self, prompt: str | None) -> bool:
        """Whether ``prompt`` holds all the words in their order; ``None`` was refused."""
        if prompt is None:
            return False
        position = 0
        for word in self.words:
            position = prompt.find(word, position)
            if position < 0:
                return False
            position += len(word)
        return True


def _with_tools(*messages: Message, words: tuple[str, ...]) -> Probe:
    return Probe(messages, words, {"tools": _TOOLS})


PROBES: dict[str, Probe] = {
    "plain": Probe((_user(USER),), (USER,)),
    "system": Probe((_system(SYSTEM), _user(USER)), (SYSTEM, USER)),
    "two_systems": Probe((_system(SYSTEM), _system(LATE), _user(USER)), (SYSTEM, LATE, USER)),
    "system_then_developer": Probe(
        (_system(SYSTEM), {"role": "developer", "content": LATE}, _user(USER)),
        (SYSTEM, LATE, USER),
    ),
    "late_system": Probe(
        (_system(SYSTEM), _user(USER), _assistant(SAID), _system(LATE), _user(MORE)),
        (SYSTEM, USER, SAID, LATE, MORE),
    ),
    "late_developer": Probe(
        (_system(SYSTEM), _user(USER), _assistant(SAID), {"role": "developer", "content": LATE},
         _user(MORE)),
        (SYSTEM, USER, SAID, LATE, MORE),
    ),
    "last_system": Probe((_system(SYSTEM), _user(USER), _system(LATE)), (SYSTEM, USER, LATE)),
    "only_system": Probe((_system(SYSTEM),), (SYSTEM,)),
    "two_users": Probe((_user(USER), _user(MORE)), (USER, MORE)),
    "two_assistants": Probe(
        (_user(USER), _assistant(SAID), _assistant(AGAIN), _user(MORE)), (USER, SAID, AGAIN, MORE)
    ),
    "assistant_first": Probe((_assistant(SAID), _user(USER)), (SAID, USER)),
    "system_assistant_first": Probe(
        (_system(SYSTEM), _assistant(SAID), _user(USER)), (SYSTEM, SAID, USER)
    ),
    # Without a user some templates leave the assistant's turn unopened.
    "only_system_closed": Probe(
        (_system(SYSTEM),), (SYSTEM,), {"add_generation_prompt": False}
    ),
    "only_assistant": Probe((_assistant(SAID),), (SAID,)),
    "prefill": Probe((_user(USER), _assistant(SAID)), (USER, SAID)),
    "system_parts": Probe(
        (_parts("system", SYSTEM, LATE), _user(USER)), (SYSTEM, LATE, USER)
    ),
    "user_parts": Probe((_parts("user", USER, MORE),), (USER, MORE)),
    "assistant_parts": Probe(
        (_user(USER), _parts("assistant", SAID, AGAIN), _user(MORE)), (USER, SAID, AGAIN, MORE)
    ),
    "tool_parts": _with_tools(
        *_CALL, _parts("tool", GOT, FOUND, tool_call_id=ID), words=(USER, GOT, FOUND)
    ),
    "tools": _with_tools(_user(USER), words=(TOOL,)),
    "loose_schemas": Probe((_user(USER),), (USER,), {"tools": _LOOSE}),
    "call": _with_tools(*_CALL, words=(USER, ASKED)),
    "result": _with_tools(*_CALL, _result(ID, GOT), words=(USER, GOT)),
    "call_and_result": _with_tools(*_CALL, _result(ID, GOT), words=(USER, ASKED, GOT)),
    "long_id": _with_tools(
        _user(USER), _calls((LONG_ID, ASKED)), _result(LONG_ID, GOT), words=(USER, GOT)
    ),
    "user_after_result": _with_tools(
        *_CALL, _result(ID, GOT), _user(MORE), words=(USER, GOT, MORE)
    ),
    "late_result": _with_tools(*_CALL, _user(MORE), _result(ID, GOT), words=(USER, MORE, GOT)),
    "lone_result": _with_tools(_user(USER), _result(ID, GOT), words=(USER, GOT)),
    "lone_result_first": _with_tools(_result(ID, GOT), _user(USER), words=(GOT, USER)),
    "unanswered_call": _with_tools(*_CALL, _user(MORE), words=(USER, MORE)),
    "parallel_results": _with_tools(
        _user(USER), _calls((ID, ASKED), (OTHER_ID, OTHER)), _result(ID, GOT),
        _result(OTHER_ID, FOUND), words=(USER, GOT, FOUND),
    ),
    "parallel_calls": _with_tools(
        _user(USER), _calls((ID, ASKED), (OTHER_ID, OTHER)), _result(ID, GOT),
        _result(OTHER_ID, FOUND), words=(USER, ASKED, OTHER, FOUND),
    ),
    "text_beside_call": _with_tools(
        _user(USER), {**_calls((ID, ASKED)), "content": SAID}, _result(ID, GOT),
        words=(USER, SAID, GOT),
    ),
    "reasoning": _with_tools(
        _user(USER), {**_calls((ID, ASKED)), "reasoning_content": THOUGHT}, _result(ID, GOT),
        words=(USER, THOUGHT, GOT),
    ),
    "thinking_on": Probe(
        (_user(USER),), (USER,), {"chat_template_kwargs": {"enable_thinking": True}}
    ),
    "thinking_off": Probe(
        (_user(USER),), (USER,), {"chat_template_kwargs": {"enable_thinking": False}}
    ),
    "effort_low": Probe((_user(USER),), (USER,), {"reasoning_effort": "low"}),
    "effort_high": Probe((_user(USER),), (USER,), {"reasoning_effort": "high"}),
}  # fmt: skip
"""Name to probe; ``abilities.conclude`` says what follows from each."""
