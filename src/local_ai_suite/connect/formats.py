"""The formats of configuration files, behind three functions: ``load``, ``put`` and ``remove``.

All change the text itself, so that no other byte moves: ``jsonc``, ``yaml_text``, ``toml_text``,
and ``.env`` line by line. Where a file is written in a form that those cannot change, the round
trip of ruamel.yaml or tomlkit does, which keeps comments, order and quotes. After every change the
result is read again and compared: everything outside of it must have the value that it had.
"""

from __future__ import annotations

import copy
import io
import re
from typing import TYPE_CHECKING, Any, Literal

from local_ai_suite.errors import SettingsError
from local_ai_suite.messages import tr
from local_ai_suite.settings import dotenv

from . import jsonc, toml_text, yaml_text
from .path import Edit, Item, NotInText, find, lines_of, same_item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .path import Path

Format = Literal["jsonc", "yaml", "toml", "dotenv"]
_LIBRARIES = frozenset({"yaml", "toml"})
_WIDE = 10_000  # ruamel folds long lines at 80 otherwise


def load(format_: Format, text: str) -> Any:
    """Plain data; ``{}`` for an empty file. Raises ``ValueError`` that names the line."""
    match format_:
        case "jsonc":
            data = jsonc.load(text)
        case "yaml":
            data = _plain(_yaml(text)[1])
        case "toml":
            data = _toml(text).unwrap()
        case "dotenv":
            try:
                data = {key: entry.value for key, entry in dotenv.parse(text, {}, name="").items()}
            except SettingsError as exc:  # the format's own; this file is not the project's
                raise ValueError(exc.message) from exc
    return {} if data is None else data


def apply(format_: Format, text: str, edits: Sequence[Edit]) -> tuple[str, list[Edit]]:
    """The new text, and the edits that were made (not those that found a value to keep)."""
    made: list[Edit] = []
    expected = copy.deepcopy(load(format_, text)) or _nothing(edits[0].path)
    for edit in edits:
        now = find(load(format_, text), edit.path)
        if edit.only_if_absent and now is not None:
            continue
        made.append(edit)
        if now != edit.value:
            expected = _set(expected, edit.path, edit.value)
            text = _changed(format_, text, edit, expected)
    return text, made


def remove(format_: Format, text: str, edits: Sequence[Edit]) -> str:
    """``text`` without those ``edits`` whose value is still the one that was written."""
    for edit in reversed(edits):
        expected = load(format_, text)
        if find(expected, edit.path) == edit.value:
            _delete(expected, edit.path)
            text = _changed(format_, text, edit, expected, gone=True)
    return text


def _changed(format_: Format, text: str, edit: Edit, expected: Any, *, gone: bool = False) -> str:
    """``text`` with ``edit``, or without it, of which all else has the value that it had. Raises
    ``ValueError`` where that cannot be done: better no change than a wrong one."""
    try:
        found = _in_text(format_, text, edit, gone=gone)
        if _same(load(format_, found), expected):
            return found
    except NotInText:
        pass
    except ValueError:
        if format_ not in _LIBRARIES:
            raise
    if format_ in _LIBRARIES:
        found = (
            _remove(format_, text, edit.path)
            if gone
            else _put(format_, text, edit.path, edit.value)
        )
        if _same(load(format_, found), expected):
            return found
    raise ValueError(tr("the change would have altered something else in the file"))


def _same(found: Any, expected: Any) -> bool:
    """Whether they say the same; a table without anything in it says nothing."""
    return bool(_without_empty(found) == _without_empty(expected))


def _without_empty(data: Any) -> Any:
    if not isinstance(data, dict):
        return data or None
    kept = {
        key: _without_empty(value) if isinstance(value, dict | list) else value
        for key, value in data.items()
    }
    return {key: value for key, value in kept.items() if value is not None} or None


def _in_text(format_: Format, text: str, edit: Edit, *, gone: bool) -> str:
    """Raises NotInText where the text is written in another way than its module changes."""
    match format_:
        case "jsonc":
            return jsonc.remove(text, edit.path) if gone else jsonc.put(text, edit.path, edit.value)
        case "yaml":
            if gone:
                return yaml_text.remove(text, edit.path)
            return yaml_text.put(text, edit.path, edit.value)
        case "toml":
            if gone:
                return toml_text.remove(text, edit.path)
            return toml_text.put(text, edit.path, edit.value)
        case "dotenv":
            name = str(edit.path[0])
            return _without_line(text, name) if gone else _put_line(text, name, str(edit.value))


def _put(format_: Format, text: str, path: Path, value: Any) -> str:
    match format_:
        case "yaml":
            yaml, data = _yaml(text)
            return _yaml_text(
                yaml, _set(_nothing(path) if data is None else data, path, value), text
            )
        case _:
            document = _toml(text)
            _set(document, path, value)
            return str(document.as_string())


def _remove(format_: Format, text: str, path: Path) -> str:
    match format_:
        case "yaml":
            yaml, data = _yaml(text)
            _delete(data, path)
            return _yaml_text(yaml, data, text)
        case _:
            document = _toml(text)
            _delete(document, path)
            return str(document.as_string())


def _nothing(path: Path) -> Any:
    """An empty file's data, as the first step needs it."""
    return [] if isinstance(path[0], Item) else {}


def _set(data: Any, path: Path, value: Any) -> Any:
    """Set in place (also in ruamel's and tomlkit's own types); the new root."""
    step, rest = path[0], path[1:]
    if isinstance(step, Item):
        if not isinstance(data, list):
            raise ValueError(  # noqa: TRY004 (the file is wrong, not our types)
                tr("a list was expected around {key}: {value}", key=step.key, value=step.value)
            )
        index = next((n for n, item in enumerate(data) if same_item(item, step)), None)
        if index is None:
            data.append(jsonc.nested((step, *rest), value)[0])
        elif rest:
            _set(data[index], rest, value)
        else:
            data[index] = value
        return data
    if not isinstance(data, dict):
        raise ValueError(tr("a table was expected around {step}", step=step))  # noqa: TRY004
    if not rest:
        data[step] = value
    elif data.get(step) is None:
        data[step] = jsonc.nested(rest, value)
    else:
        _set(data[step], rest, value)
    return data


def _delete(data: Any, path: Path) -> None:
    for step in path[:-1]:
        data = find(data, (step,))
    last = path[-1]
    if isinstance(last, Item):
        data[:] = [item for item in data if not same_item(item, last)]
    else:
        del data[last]


def _yaml(text: str) -> tuple[Any, Any]:
    """A round-trip reader set to the file's own indentation, and the data."""
    from ruamel.yaml import YAML  # noqa: PLC0415 (slow, and only YAML needs it)
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = _WIDE
    # `- ` indented below its key, or not: as the file has it.
    dashes = [line for line in text.splitlines() if line.lstrip().startswith("- ")]
    offset = len(dashes[0]) - len(dashes[0].lstrip()) if dashes else 2
    yaml.indent(mapping=2, sequence=offset + 2, offset=offset)
    try:
        return yaml, yaml.load(text)
    except YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = tr("line {line}: ", line=mark.line + 1) if mark else ""
        raise ValueError(
            tr(
                "{where}{problem}",
                where=where,
                problem=getattr(exc, "problem", None) or tr("not YAML"),
            )
        ) from exc


def _yaml_text(yaml: Any, data: Any, before: str) -> str:
    if not data:
        return ""
    out = io.StringIO()
    yaml.dump(data, out)
    text = out.getvalue()
    return text.replace("\n", "\r\n") if "\r\n" in before else text


def _plain(data: Any) -> Any:
    """ruamel's types as plain ones, so that values compare."""
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_plain(value) for value in data]
    for kind in (bool, int, float, str):
        if isinstance(data, kind):
            return kind(data)
    return data


def _toml(text: str) -> Any:
    import tomlkit  # noqa: PLC0415
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    try:
        return tomlkit.parse(text)
    except TOMLKitError as exc:
        raise ValueError(*exc.args) from exc


def _put_line(text: str, key: str, value: str) -> str:
    quoted = value if value and all(c.isalnum() or c in "-_./:+@," for c in value) else f"'{value}'"
    lines = lines_of(text)
    newline = "\r\n" if "\r\n" in text else "\n"
    there = dotenv.parse(text, {}, name="").get(key)
    if there is not None:
        line = lines[there.line - 1]
        name, sign, rest = line.partition("=")
        comment = re.search(r"[ \t]+#[^\r\n]*", rest)
        end = rest[len(rest.rstrip("\r\n")) :]
        lines[there.line - 1] = f"{name}{sign}{quoted}{comment.group() if comment else ''}{end}"
        return "".join(lines)
    if lines and not lines[-1].endswith(("\n", "\r")):
        lines[-1] += newline
    return "".join([*lines, f"{key}={quoted}{newline}"])


def _without_line(text: str, key: str) -> str:
    """Every line that sets ``key``; a key that is also set above would come back otherwise."""
    while (there := dotenv.parse(text, {}, name="").get(key)) is not None:
        lines = lines_of(text)
        text = "".join(lines[: there.line - 1] + lines[there.line :])
    return text
