"""What a training document is, and how it becomes text: exactly as the chat template renders it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

Arguments = dict[str, Any]


@dataclass
class Tool:
    """A tool as a request offers it; `optional` arguments are not in the schema's `required`."""

    name: str
    description: str
    required: list[str]
    optional: list[str] = field(default_factory=list)

    def schema(self) -> dict[str, Any]:
        """As in the OpenAI API."""
        properties = {name: {"type": "string"} for name in [*self.required, *self.optional]}
        parameters = {"type": "object", "properties": properties, "required": self.required}
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}

    def line(self) -> str:
        """As the template writes it."""
        names = [*self.required, *(f"{name}?" for name in self.optional)]
        return f"{self.name}({', '.join(names)}): {self.description}"


@dataclass
class Turn:
    """One message. `role` is user, assistant, or tool (a list of tool answers as `text` parts)."""

    role: str
    text: str = ""
    calls: list[tuple[str, Arguments]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)


@dataclass
class Document:
    """A conversation (or `raw` text: pairs of text and whether it is to be learnt)."""

    turns: list[Turn] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    system: str = ""
    raw: list[tuple[str, bool]] = field(default_factory=list)

    def segments(self) -> list[tuple[str, bool]]:
        """Text in order, each with whether the model is to learn it."""
        if self.raw:
            return self.raw
        parts: list[tuple[str, bool]] = []
        if self.system or self.tools:
            lines = [self.system] if self.system else []
            if self.tools:
                listed = "\n".join(tool.line() for tool in self.tools)
                lines.append(f"# Tools\n{listed}")
            parts.append(("<|im_start|>system\n" + "\n\n".join(lines) + "<|im_end|>\n", False))
        for turn in self.turns:
            if turn.role == "user":
                parts.append((f"<|im_start|>user\n{turn.text}<|im_end|>\n", False))
            elif turn.role == "tool":
                answers = "".join(f"\n<tool_response>\n{a}\n</tool_response>" for a in turn.answers)
                parts.append((f"<|im_start|>user{answers}<|im_end|>\n", False))
            else:
                blocks = [turn.text] if turn.text else []
                blocks += [f"<tool_call>\n{call_json(*c)}\n</tool_call>" for c in turn.calls]
                parts.append(("<|im_start|>assistant\n", False))
                parts.append(("\n".join(blocks) + "<|im_end|>", True))
                parts.append(("\n", False))
        return parts


def call_json(name: str, arguments: Arguments) -> str:
    """A call as the model writes it."""
    return json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)


def user(text: str) -> Turn:
    return Turn("user", text)


def assistant(text: str = "", *calls: tuple[str, Arguments]) -> Turn:
    return Turn("assistant", text, list(calls))


def answer(*texts: str) -> Turn:
    return Turn("tool", answers=list(texts))
