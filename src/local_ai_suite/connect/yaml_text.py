"""YAML: a value put into the text, or taken out, and no other byte moved.

A YAML library that writes a file back lays it out anew. Here it is only asked where things stand
(PyYAML's nodes and their marks); lines are inserted and removed in the text itself. What this
module does not do (flow style around the place) raises :class:`path.NotInText`.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import yaml

from . import jsonc
from .path import Item, NotInText

if TYPE_CHECKING:
    from .path import Path


def put(text: str, path: Path, value: Any) -> str:
    """``text`` with ``value`` at ``path``; missing mappings and lists on the way are made."""
    root = _root(text)
    if root is None:
        return _ended(text, text) + _dump(jsonc.nested(path, value), "", text)
    node = owner = root
    for depth, step in enumerate(path):
        found = _child(node, step)
        if found is None:
            return _insert(text, node, jsonc.nested(path[depth:], value), path[:depth])
        owner, node = node, found
    return _replace(text, owner, node, path[-1], value)


def remove(text: str, path: Path) -> str:
    """``text`` without the member or item at ``path``, which is there."""
    node = _root(text)
    owner = key = above = None
    for step in path:
        if node is None:
            raise NotInText
        owner, above = node, key
        key, node = _key(node, step), _child(node, step)
    if owner is None or node is None or owner.flow_style:
        raise NotInText
    left = text[: _begin(text, key or node)] + text[_end(text, node) :]
    if len(owner.value) > 1 or above is None:
        return left
    # The last one of its list or mapping: what it stood in is empty now, not null.
    at = above.end_mark.index + 1  # behind the colon
    if text[at - 1 : at] != ":":
        raise NotInText
    empty = "[]" if isinstance(owner, yaml.SequenceNode) else "{}"
    return f"{left[:at]} {empty}{left[at:]}"


def _root(text: str) -> Any:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as exc:  # valid for YAML 1.2, which ruamel reads, or a character of it
        raise NotInText from exc


def _child(node: Any, step: str | Item) -> Any:
    if isinstance(step, Item):
        items = node.value if isinstance(node, yaml.SequenceNode) else []
        return next((item for item in items if _field(item, step.key) == step.value), None)
    members = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value for key, value in members if key.value == step), None)


def _key(node: Any, step: str | Item) -> Any:
    if isinstance(step, Item):
        return None
    return next((key for key, _ in node.value if key.value == step), None)


def _field(item: Any, name: str) -> Any:
    members = item.value if isinstance(item, yaml.MappingNode) else []
    return next((value.value for key, value in members if key.value == name), None)


def _insert(text: str, node: Any, inner: Any, way: Path) -> str:
    """``inner`` (one member, or a list of one item) as the last of ``node``."""
    wanted = yaml.SequenceNode if isinstance(inner, list) else yaml.MappingNode
    if isinstance(node, yaml.ScalarNode) and node.value == "" and node.style is None and way:
        raise NotInText  # a key with nothing behind it
    if not isinstance(node, wanted):
        kind = "list" if wanted is yaml.SequenceNode else "table"
        raise ValueError(f"a {kind} was expected around {way[-1] if way else 'the file'}")  # noqa: TRY004
    if node.flow_style:
        if node.value or text[node.start_mark.index : node.end_mark.index] not in {"[]", "{}"}:
            raise NotInText
        start, end = node.start_mark.index, node.end_mark.index
        outer = _indent_of_line(text, start)
        if not way:
            return text[:start] + _dump(inner, "", text).rstrip("\r\n") + text[end:]
        block = _dump(inner, outer + "  ", text).rstrip("\r\n")
        return text[:start].rstrip(" \t") + _newline(text) + block + text[end:]
    at = _end(text, node)
    made = _dump(inner, " " * node.start_mark.column, text)
    return _ended(text[:at], text) + made + text[at:]


def _replace(text: str, owner: Any, node: Any, step: str | Item, value: Any) -> str:
    is_line = isinstance(node, yaml.ScalarNode) and node.style not in {"|", ">"}
    if is_line and not isinstance(value, dict | list):
        start, end = node.start_mark.index, node.end_mark.index
        gap = " " if start == end else ""
        return text[:start] + gap + _dump(value, "", text).strip() + text[end:]
    if owner.flow_style:
        raise NotInText
    begin, end = _begin(text, _key(owner, step) or node), _end(text, node)
    new = [value] if isinstance(step, Item) else {step: value}
    return text[:begin] + _dump(new, " " * owner.start_mark.column, text) + text[end:]


def _begin(text: str, node: Any) -> int:
    """Where the line of ``node`` begins, of which it is the first (a list's dash apart)."""
    at = int(node.start_mark.index)
    start = text.rfind("\n", 0, at) + 1
    if not re.fullmatch(r"\ufeff?[ \t]*(?:- +)?", text[start:at]):
        raise NotInText
    return start


def _end(text: str, node: Any) -> int:
    """Where the line after the last one begins that holds something of ``node``."""
    while not isinstance(node, yaml.ScalarNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    at = int(node.end_mark.index)
    is_block = isinstance(node, yaml.ScalarNode) and node.style in {"|", ">"}
    if is_block and text[:at].endswith("\n"):
        return at
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _dump(value: Any, indent: str, text: str) -> str:
    """As block lines, each with ``indent`` before it, and with the file's line ends."""
    from ruamel.yaml import YAML  # noqa: PLC0415 (slow, and only YAML needs it)

    writer = YAML()
    writer.width = 10_000
    writer.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    writer.dump(value, out)
    lines = out.getvalue().splitlines()
    if isinstance(value, list):  # ruamel writes a list at the root two columns in
        lines = [line.removeprefix("  ") for line in lines]
    newline = _newline(text)
    return "".join(
        f"{indent}{line}{newline}" if line else newline for line in lines if line != "..."
    )


def _ended(before: str, text: str) -> str:
    """``before`` with an end to its last line, as ``text`` ends its lines."""
    return before if not before or before.endswith("\n") else before + _newline(text)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _indent_of_line(text: str, at: int) -> str:
    start = text.rfind("\n", 0, at) + 1
    found = re.match(r"[ ]*", text[start:])
    return found.group() if found else ""
