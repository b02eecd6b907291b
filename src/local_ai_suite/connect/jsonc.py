"""JSON with comments and trailing commas: read it, and change one value leaving the rest as it is.

The approach of VS Code's own jsonc-parser: parse into nodes that know their place in the text, then
replace, insert or remove characters. No byte outside of the change moves.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from local_ai_suite.messages import tr

from .path import Item, Path, same_item

_DEEPEST = 200  # nested deeper than any configuration; keeps the recursion bounded
_SKIP = re.compile(r"(?:[ \t\r\n\ufeff]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_REST_OF_LINE = re.compile(r"(?:[ \t]|/\*[^\n\r]*?\*/)*(?://[^\n\r]*)?(?=\r?\n)")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_WORD = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null")


class JsoncError(ValueError):
    """Not JSON, even with comments; the message names line and column."""


@dataclass(slots=True)
class Node:
    """A value at ``text[start:end]``. ``members``: (key, where the key starts, node); ``items``."""

    start: int
    end: int
    value: Any
    members: list[tuple[str, int, Node]] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)


def load(text: str) -> Any:
    """The value; an empty text (or one of comments alone) is ``None``."""
    root = parse(text)
    return None if root is None else root.value


def parse(text: str) -> Node | None:
    parser = _Parser(text)
    parser.skip()
    if parser.at == len(text):
        return None
    node = parser.value(0)
    parser.skip()
    if parser.at != len(text):
        parser.fail(tr("more text after the value"))
    return node


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def skip(self) -> None:
        match = _SKIP.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def fail(self, what: str) -> NoReturn:
        line = self.text.count("\n", 0, self.at) + 1
        column = self.at - (self.text.rfind("\n", 0, self.at) + 1) + 1
        raise JsoncError(f"line {line}, column {column}: {what}")

    def peek(self) -> str:
        self.skip()
        return self.text[self.at : self.at + 1]

    def value(self, depth: int) -> Node:
        if depth > _DEEPEST:
            self.fail(tr("nested too deep"))
        match self.peek():
            case "{":
                return self._object(depth)
            case "[":
                return self._array(depth)
            case '"':
                start, text = self.at, self._string()
                return Node(start, self.at, text)
        if not (match_ := _WORD.match(self.text, self.at)):
            self.fail(
                tr("a value was expected")
                if self.at < len(self.text)
                else tr("the text ends early")
            )
        start, self.at = self.at, match_.end()
        return Node(start, self.at, json.loads(match_.group()))

    def _string(self) -> str:
        found = _STRING.match(self.text, self.at)
        if not found:
            self.fail(tr("a string was expected"))
        try:
            text: str = json.loads(found.group())
        except ValueError:
            self.fail(tr("a string with a wrong escape"))
        self.at = found.end()
        return text

    def _object(self, depth: int) -> Node:
        node = Node(self.at, 0, {})
        self.at += 1
        while self.peek() != "}":
            start = self.at
            key = self._string()
            if self.peek() != ":":
                self.fail(tr("a colon was expected"))
            self.at += 1
            child = self.value(depth + 1)
            node.members.append((key, start, child))
            node.value[key] = child.value
            self._comma("}")
        self.at += 1
        node.end = self.at
        return node

    def _array(self, depth: int) -> Node:
        node = Node(self.at, 0, [])
        self.at += 1
        while self.peek() != "]":
            child = self.value(depth + 1)
            node.items.append(child)
            node.value.append(child.value)
            self._comma("]")
        self.at += 1
        node.end = self.at
        return node

    def _comma(self, end: str) -> None:
        sign = self.peek()
        if sign == ",":
            self.at += 1
        elif sign != end:
            self.fail(tr("a comma or {end} was expected", end=end))


def put(text: str, path: Path, value: Any) -> str:
    """``text`` with ``value`` at ``path``; missing objects and lists on the way are made."""
    root = parse(text)
    if root is None:
        start: Any = [] if isinstance(path[0], Item) else {}
        return put(text + json.dumps(start) + "\n", path, value)
    node = root
    for depth, step in enumerate(path):
        child = _child(node, step)
        if child is None:
            return _insert(text, node, step, nested(path[depth + 1 :], value))
        node = child
    if node.value == value and type(node.value) is type(value):
        return text
    return text[: node.start] + _written(text, value, node.start) + text[node.end :]


def remove(text: str, path: Path) -> str:
    """``text`` without what is at ``path``; unchanged when there is nothing."""
    node = parse(text)
    for step in path[:-1]:
        node = _child(node, step) if node else None
    if node is None:
        return text
    places = [(start, child.end) for _, start, child in node.members]
    places += [(child.start, child.end) for child in node.items]
    target = _child(node, path[-1])
    number = next((n for n, place in enumerate(places) if target and place[1] == target.end), None)
    if number is None:
        return text
    start, end = places[number]
    comma = _behind(text, end)
    if text[comma : comma + 1] == ",":
        # A comment before the comma is not ours, and stays.
        text = text[:comma] + text[comma + 1 :]
    elif number:
        # The last one: the comma before it goes instead.
        before = _behind(text, places[number - 1][1])
        text = text[:before] + text[before + 1 :]
        start, end = start - 1, end - 1
    line = text.rfind("\n", 0, start) + 1
    rest = re.match(r"[ \t]*\r?\n", text[end:])
    if rest and not text[line:start].strip():
        start, end = line, end + rest.end()  # alone on its lines: they go whole
    return text[:start] + text[end:]


def _behind(text: str, at: int) -> int:
    """Where the next sign after ``at`` stands, blank space and comments apart."""
    after = _SKIP.match(text, at)
    return after.end() if after else at


def _child(node: Node, step: str | Item) -> Node | None:
    if isinstance(step, Item):
        return next((child for child in node.items if same_item(child.value, step)), None)
    # The last one counts, as in JSON.parse.
    return next((child for key, _, child in reversed(node.members) if key == step), None)


def nested(path: Path, value: Any) -> Any:
    """``value`` inside the objects and lists that ``path`` names."""
    for step in reversed(path):
        if isinstance(step, Item):
            value = [{step.key: step.value, **value} if isinstance(value, dict) else value]
        else:
            value = {step: value}
    return value


def _insert(text: str, node: Node, step: str | Item, value: Any) -> str:
    wanted = list if isinstance(step, Item) else dict
    if not isinstance(node.value, wanted):
        kind = tr("a list") if wanted is list else tr("an object")
        raise JsoncError(f"{kind} was expected where {json.dumps(node.value)[:40]} is")
    if isinstance(step, Item) and isinstance(value, dict):
        value = {step.key: step.value, **value}
    last = max([child.end for _, _, child in node.members] + [c.end for c in node.items], default=0)
    unit, outer = _indent(text), _indent_of_line(text, node.start)
    inner = outer + unit
    newline = "\r\n" if "\r\n" in text else "\n"
    key = "" if isinstance(step, Item) else f"{json.dumps(step, ensure_ascii=False)}: "
    new = key + _dump(value, unit, inner, newline)
    if not last:
        # Comments inside stay where they are.
        inside = text[node.start + 1 : node.end - 1]
        body = f"{inside.rstrip()}{newline}{inner}{new}{newline}{outer}"
        return text[: node.start + 1] + body + text[node.end - 1 :]
    comma = _behind(text, last)
    if text[comma : comma + 1] == ",":
        last, sign = comma + 1, ""
    else:
        sign = ","
    # What else stands on the line, comments and blank space, belongs to the value before.
    rest = _REST_OF_LINE.match(text, last)
    at = rest.end() if rest else last
    one_line = "\n" not in text[node.start : node.end]
    gap = " " if one_line else newline + inner
    trailing = "," if not sign and not one_line else ""
    return text[:last] + sign + text[last:at] + gap + new + trailing + text[at:]


def _written(text: str, value: Any, at: int) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    return _dump(value, _indent(text), _indent_of_line(text, at), newline)


def _dump(value: Any, unit: str, outer: str, newline: str) -> str:
    lines = json.dumps(value, indent=unit, ensure_ascii=False).split("\n")
    return (newline + outer).join(lines)


def _indent(text: str) -> str:
    """The file's own indentation: its first indented line's, two spaces when there is none."""
    found = re.search(r"[{\[][ \t]*\r?\n([ \t]+)\S", text)
    return found.group(1) if found else "  "


def _indent_of_line(text: str, at: int) -> str:
    start = text.rfind("\n", 0, at) + 1
    found = re.match(r"[ \t]*", text[start:])
    return found.group() if found else ""
