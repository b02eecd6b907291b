"""Conversations as real clients send them, well formed and not, as OpenAI's chat messages.

Every text is a word of its own, so that a rendered prompt shows whether it is there. ``words`` are
those that must be: what a template's authors leave out themselves (earlier reasoning, the text
beside a call, in some families the calls) is not among them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]


@dataclass(frozen=True)
class History:
    """One row of the matrix. ``refused``: the engine itself says 400 to it, on every template."""

    name: str
    messages: tuple[Message, ...]
    words: tuple[str, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)
    refused: bool = False

    @property
    def kinds(self) -> set[str]:
        """What the model's answer is about to be: with ``tools``, a ``prefill``, after a
        ``result``."""
        last = self.messages[-1]["role"] if self.messages else ""
        found = {"assistant": {"prefill"}, "tool": {"result"}}.get(last, set())
        return found | ({"tools"} if self.more.get("tools") else set())


def system(text: Any) -> Message:
    return {"role": "system", "content": text}


def developer(text: Any) -> Message:
    return {"role": "developer", "content": text}


def user(text: Any, **more: Any) -> Message:
    return {"role": "user", "content": text, **more}


def assistant(text: Any, **more: Any) -> Message:
    return {"role": "assistant", "content": text, **more}


def call(id_: str, arguments: str, name: str = "look_up") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": id_, "type": "function", "function": function}


def asks(word: str) -> str:
    return json.dumps({"q": word})


def calls(*made: dict[str, Any], content: Any = "", **more: Any) -> Message:
    return {"role": "assistant", "content": content, "tool_calls": list(made), **more}


def result(id_: str, text: Any, **more: Any) -> Message:
    return {"role": "tool", "tool_call_id": id_, "content": text, **more}


def parts(*texts: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text} for text in texts]


def tool(parameters: Any, name: str = "look_up") -> dict[str, Any]:
    function = {"name": name, "description": "Looks something up.", "parameters": parameters}
    return {"type": "function", "function": function}


PARAMETERS = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
TOOLS: dict[str, Any] = {"tools": [tool(PARAMETERS)]}
NINE, OTHER = "abcDEF123", "abcDEF124"
LONG = "call_0123456789abcdefGHIJKLMN"
SYMBOLS = "functions.look_up:0"
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQAB"
    "pfZFQAAAAABJRU5ErkJggg=="
)


def _with_tools(name: str, *messages: Message, words: tuple[str, ...] = ()) -> History:
    return History(name, messages, words, TOOLS)


def _odd_tool(name: str, parameters: Any, **more: Any) -> History:
    return History(name, (user("wordUser"),), ("wordUser",), {"tools": [tool(parameters)], **more})


HISTORIES: tuple[History, ...] = (
    History("one user turn", (user("wordUser"),), ("wordUser",)),
    History("system first", (system("wordSys"), user("wordUser")), ("wordSys", "wordUser")),
    History(
        "system last",
        (system("wordSys"), user("wordUser"), assistant("wordSaid"), user("wordMore"),
         system("wordLate")),
        ("wordSys", "wordUser", "wordSaid", "wordMore", "wordLate"),
    ),
    History(
        "system in the middle",
        (system("wordSys"), user("wordUser"), assistant("wordSaid"), system("wordLate"),
         user("wordMore")),
        ("wordSys", "wordUser", "wordSaid", "wordLate", "wordMore"),
    ),
    History(
        "system twice",
        (system("wordSys"), system("wordSecond"), user("wordUser")),
        ("wordSys", "wordSecond", "wordUser"),
    ),
    History("system alone", (system("wordSys"),), ("wordSys",)),
    History("developer", (developer("wordDev"), user("wordUser")), ("wordDev", "wordUser")),
    History(
        "system and developer",
        (system("wordSys"), developer("wordDev"), user("wordUser")),
        ("wordSys", "wordDev", "wordUser"),
    ),
    History(
        "developer in the middle",
        (system("wordSys"), user("wordUser"), assistant("wordSaid"), developer("wordDev"),
         user("wordMore")),
        ("wordSys", "wordUser", "wordSaid", "wordDev", "wordMore"),
    ),
    History("user twice", (user("wordUser"), user("wordMore")), ("wordUser", "wordMore")),
    History(
        "assistant twice",
        (user("wordUser"), assistant("wordSaid"), assistant("wordAgain"), user("wordMore")),
        ("wordUser", "wordSaid", "wordAgain", "wordMore"),
    ),
    History(
        "assistant first", (assistant("wordSaid"), user("wordUser")), ("wordSaid", "wordUser")
    ),
    History(
        "assistant first after system",
        (system("wordSys"), assistant("wordSaid"), user("wordUser")),
        ("wordSys", "wordSaid", "wordUser"),
    ),
    History("assistant last", (user("wordUser"), assistant("wordSaid")), ("wordUser", "wordSaid")),
    History(
        "assistant twice at the end",
        (user("wordUser"), assistant("wordSaid"), assistant("wordAgain")),
        ("wordUser", "wordSaid", "wordAgain"),
    ),
    History("assistant alone", (assistant("wordSaid"),), ("wordSaid",)),
    History(
        "empty content",
        (system(""), user(""), assistant(""), user("wordMore")),
        ("wordMore",),
    ),
    History(
        "null content",
        (user("wordUser"), assistant(None), user("wordMore")),
        ("wordUser", "wordMore"),
    ),
    History(
        "content parts",
        (system(parts("wordSys", "wordSecond")), user(parts("wordUser", "wordMore")),
         assistant(parts("wordSaid")), user("wordLast")),
        ("wordSys", "wordSecond", "wordUser", "wordMore", "wordSaid", "wordLast"),
    ),
    History(
        "parts of other APIs",
        (user([{"type": "input_text", "text": "wordUser"}]),
         assistant([{"type": "output_text", "text": "wordSaid"},
                    {"type": "refusal", "refusal": "wordNo"}]),
         user("wordMore")),
        ("wordUser", "wordSaid", "wordNo", "wordMore"),
    ),
    History(
        "null members",
        (user("wordUser", name=None),
         assistant("wordSaid", tool_calls=None, reasoning_content=None, name=None,
                   refusal=None, audio=None, function_call=None),
         user("wordMore", tool_call_id=None)),
        ("wordUser", "wordSaid", "wordMore"),
    ),
    History(
        "unknown members",
        (user("wordUser", id="m1", metadata={"a": 1}), assistant("wordSaid", annotations=[]),
         user("wordMore")),
        ("wordUser", "wordSaid", "wordMore"),
    ),
    _with_tools("tool offered", user("wordUser"), words=("wordUser",)),
    _with_tools(
        "call and result",
        user("wordUser"), calls(call(NINE, asks("wordAsked"))), result(NINE, "wordGot"),
        words=("wordUser", "wordGot"),
    ),
    _with_tools(
        "call with null content",
        user("wordUser"), calls(call(NINE, asks("wordAsked")), content=None),
        result(NINE, "wordGot"), words=("wordUser", "wordGot"),
    ),
    History(
        "call and result, no tool offered",
        (user("wordUser"), calls(call(NINE, asks("wordAsked"))), result(NINE, "wordGot")),
        ("wordUser", "wordGot"),
    ),
    _with_tools(
        "call, result, answer",
        user("wordUser"), calls(call(NINE, asks("wordAsked"))), result(NINE, "wordGot"),
        assistant("wordSaid"), user("wordMore"),
        words=("wordUser", "wordGot", "wordSaid", "wordMore"),
    ),
    _with_tools(
        "result with text beside it",
        user("wordUser"), calls(call(NINE, asks("wordAsked"))), result(NINE, "wordGot"),
        user("wordMore"), words=("wordUser", "wordGot", "wordMore"),
    ),
    _with_tools(
        "text before the result",
        user("wordUser"), calls(call(NINE, asks("wordAsked"))), user("wordMore"),
        result(NINE, "wordGot"), words=("wordUser", "wordGot", "wordMore"),
    ),
    _with_tools(
        "system after a result",
        system("wordSys"), user("wordUser"), calls(call(NINE, asks("wordAsked"))),
        result(NINE, "wordGot"), system("wordLate"),
        words=("wordSys", "wordUser", "wordGot", "wordLate"),
    ),
    _with_tools(
        "parallel calls",
        user("wordUser"), calls(call(NINE, asks("wordAsked")), call(OTHER, asks("wordOther"))),
        result(NINE, "wordGot"), result(OTHER, "wordFound"),
        words=("wordUser", "wordGot", "wordFound"),
    ),
    _with_tools(
        "parallel calls, one answered",
        user("wordUser"), calls(call(NINE, asks("wordAsked")), call(OTHER, asks("wordOther"))),
        result(OTHER, "wordFound"), user("wordMore"),
        words=("wordUser", "wordFound", "wordMore"),
    ),
    _with_tools(
        "calls in a row",
        user("wordUser"), calls(call(NINE, asks("wordAsked"))), result(NINE, "wordGot"),
        calls(call(OTHER, asks("wordOther"))), result(OTHER, "wordFound"),
        words=("wordUser", "wordGot", "wordFound"),
    ),
    _with_tools(
        "long id",
        user("wordUser"), calls(call(LONG, asks("wordAsked"))), result(LONG, "wordGot"),
        words=("wordUser", "wordGot"),
    ),
    _with_tools(
        "id with symbols",
        user("wordUser"), calls(call(SYMBOLS, asks("wordAsked"))), result(SYMBOLS, "wordGot"),
        words=("wordUser", "wordGot"),
    ),
    _with_tools(
        "empty id",
        user("wordUser"), calls(call("", asks("wordAsked"))), result("", "wordGot"),
        words=("wordUser", "wordGot"),
    ),
    _with_tools(
        "unanswered call",
        user("wordUser"), calls(call(NINE, asks("wordAsked"))), user("wordMore"),
        words=("wordUser", "wordMore"),
    ),
    _with_tools(
        "result without a call", user("wordUser"), result(NINE, "wordGot"),
        words=("wordUser", "wordGot"),
    ),
    _with_tools(
        "result first", result(NINE, "wordGot"), user("wordUser"), words=("wordGot", "wordUser")
    ),
    _with_tools(
        "result in parts",
        user("wordUser"), calls(call(NINE, asks("wordAsked"))),
        result(NINE, parts("wordGot", "wordFound")), words=("wordUser", "wordGot", "wordFound"),
    ),
    _with_tools(
        "text beside the call",
        user("wordUser"), calls(call(NINE, asks("wordAsked")), content="wordSaid"),
        result(NINE, "wordGot"), words=("wordUser", "wordGot"),
    ),
    *(
        _with_tools(
            f"arguments: {name}",
            user("wordUser"), calls(call(NINE, arguments)), result(NINE, "wordGot"),
            words=("wordUser", "wordGot"),
        )
        for name, arguments in {
            "empty": "", "an empty object": "{}", "cut JSON": '{"q": "wordAsk',
            "plain text": "wordAsked", "a list": '["wordAsked"]', "null": "null",
            "a number": "7", "nested": '{"q": {"x": [1, null, true, 1.5]}, "n": null}',
        }.items()
    ),
    History(
        "reasoning in the history",
        (user("wordUser"), assistant("wordSaid", reasoning_content="wordThought"),
         user("wordMore")),
        ("wordUser", "wordMore"),
    ),
    _with_tools(
        "reasoning before a call",
        user("wordUser"),
        calls(call(NINE, asks("wordAsked")), reasoning_content="wordThought"),
        result(NINE, "wordGot"), words=("wordUser", "wordGot"),
    ),
    _odd_tool("tool: enum of nothing", {"type": "object", "properties": {"q": {"enum": []}}}),
    _odd_tool("tool: boolean schemas", {
        "type": "object", "properties": {"q": True, "xs": {"type": "array", "items": True}},
    }),
    _odd_tool("tool: types in capitals", {
        "type": "OBJECT", "properties": {"q": {"type": "STRING"}},
    }),
    _odd_tool("tool: unresolvable reference", {
        "type": "object", "properties": {"q": {"$ref": "#/$defs/nowhere"}},
    }),
    _odd_tool("tool: nested", {
        "type": "object",
        "properties": {"q": {"type": "object", "properties": {
            "xs": {"type": "array", "items": {"type": "object", "properties": {
                "y": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            }}},
        }}},
    }),
    _odd_tool("tool: no parameters", {}),
    _odd_tool("tool: large bounds", {
        "type": "object", "properties": {"q": {"type": "string", "minLength": 2500}},
    }, tool_choice="required"),
    _odd_tool("tool: any", {"type": "object", "properties": {"q": {"type": "any"}}}),
    _odd_tool("tool forced", PARAMETERS, tool_choice="required"),
    _odd_tool("tool forbidden", PARAMETERS, tool_choice="none"),
    History(
        "an image for a text model",
        (user([{"type": "text", "text": "wordUser"},
               {"type": "image_url", "image_url": {"url": PIXEL}}]),),
        (), refused=True,
    ),
    History("no message", ()),
)  # fmt: skip
