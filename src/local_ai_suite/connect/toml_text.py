"""TOML: a value put into the text, or taken out, and no other byte moved.

A table of ours is written at the end of the file, a value of the file's own head below its last
one; both are lines that TOML lets stand there whatever else the file holds. What does not fit that
form raises :class:`path.NotInText`.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from .path import NotInText, lines_of

if TYPE_CHECKING:
    from .path import Path

_HEADER = re.compile(r"[ \t]*\[")


def put(text: str, path: Path, value: Any) -> str:
    """``text`` with ``value`` at ``path``, where there was nothing or a value of the same form."""
    keys = _keys(path)
    there = _find(tomllib.loads(text), keys)
    if isinstance(value, dict):
        if there is not None:
            text = remove(text, path)
        return _append(text, keys, value)
    if len(keys) != 1:
        raise NotInText
    lines = lines_of(text)
    head = _head(lines)
    if there is not None:
        number = _line_of(lines, head, keys[0])
        before, _, rest = lines[number].partition("=")
        old = _one_line_value(rest)
        gap = rest[: len(rest) - len(rest.lstrip(" \t"))]
        lines[number] = f"{before}={gap}{_written(value)}{rest[len(gap) + len(old) :]}"
        return "".join(lines)
    at = max((n + 1 for n in range(head) if _says_something(lines[n])), default=0)
    newline = _newline(text)
    if at and not lines[at - 1].endswith(("\n", "\r")):
        lines[at - 1] += newline
    lines.insert(at, f"{_quoted(keys[0])} = {_written(value)}{newline}")
    return "".join(lines)


def remove(text: str, path: Path) -> str:
    """``text`` without the value at ``path``, which is there; comments around it stay."""
    keys = _keys(path)
    lines = lines_of(text)
    there = _find(tomllib.loads(text), keys)
    if not isinstance(there, dict):
        if len(keys) != 1:
            raise NotInText
        number = _line_of(lines, _head(lines), keys[0])
        return "".join(lines[:number] + lines[number + 1 :])
    starts = [n for n in _headers(lines) if _name_of(lines[n]) == keys]
    if len(starts) != 1:
        raise NotInText
    start = starts[0]
    end = next((n for n in _headers(lines) if n > start), len(lines))
    while end > start + 1 and not _says_something(lines[end - 1]):
        end -= 1  # what is said below belongs to what follows
    if start and not lines[start - 1].strip() and end == len(lines):
        start -= 1  # the empty line that was written with it
    return "".join(lines[:start] + lines[end:])


def _keys(path: Path) -> list[str]:
    if not all(isinstance(step, str) for step in path):
        raise NotInText
    return [str(step) for step in path]


def _find(data: Any, keys: list[str]) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _append(text: str, keys: list[str], value: dict[str, Any]) -> str:
    newline = _newline(text)
    if any(isinstance(one, dict) for one in value.values()):
        raise NotInText
    made = [f"[{'.'.join(_quoted(key) for key in keys)}]"]
    made += [f"{_quoted(key)} = {_written(one)}" for key, one in value.items()]
    gap = ""
    if text and not text.endswith(("\n", "\r")):
        gap = newline
    if text.strip():
        gap += newline
    return text + gap + "".join(line + newline for line in made)


def _headers(lines: list[str]) -> list[int]:
    """The numbers of the lines that begin a table: what stands above one is whole TOML."""
    found = []
    for number, line in enumerate(lines):
        if _HEADER.match(line):
            try:
                tomllib.loads("".join(lines[:number]))
            except tomllib.TOMLDecodeError:
                continue  # inside a list or a text over several lines
            found.append(number)
    return found


def _head(lines: list[str]) -> int:
    """How many lines stand above the first table."""
    return next(iter(_headers(lines)), len(lines))


def _name_of(header: str) -> list[str] | None:
    try:
        data: Any = tomllib.loads(header)
    except tomllib.TOMLDecodeError:
        return None
    keys = []
    while isinstance(data, dict) and data:
        key, data = next(iter(data.items()))
        keys.append(key)
    return keys


def _line_of(lines: list[str], head: int, key: str) -> int:
    """The line of the head that says ``key``, all of it."""
    for number in range(head):
        try:
            said = tomllib.loads(lines[number])
        except tomllib.TOMLDecodeError:
            continue
        if list(said) == [key] and not isinstance(said[key], dict):
            # A line inside a text over several lines may look the same.
            without = "".join(lines[:number] + lines[number + 1 : head])
            try:
                if key not in tomllib.loads(without):
                    return number
            except tomllib.TOMLDecodeError:
                continue
    raise NotInText


def _one_line_value(rest: str) -> str:
    """The value at the start of ``rest`` (what follows the equals sign), without the comment."""
    said = rest.lstrip(" \t")
    wanted = tomllib.loads(f"x = {said}")["x"]
    for end in range(1, len(said) + 1):
        try:
            if tomllib.loads(f"x = {said[:end]}")["x"] == wanted and (
                not said[end:].strip() or said[end:].lstrip(" \t").startswith("#")
            ):
                return said[:end]
        except tomllib.TOMLDecodeError:
            continue
    raise NotInText


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _quoted(key: str) -> str:
    import tomlkit  # noqa: PLC0415 (slow, and only TOML needs it)

    return str(tomlkit.key(key).as_string())


def _written(value: Any) -> str:
    import tomlkit  # noqa: PLC0415 (as above)

    return str(tomlkit.item(value).as_string())


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
