"""Does a value fit one of our schemas? Only the words that :mod:`.sections` uses."""

from __future__ import annotations

import re
from typing import Any


def violation(value: Any, schema: dict[str, Any], where: str = "it") -> str:
    """What doesn't fit, or an empty text."""
    match schema["type"]:
        case "object":
            return _object(value, schema, where)
        case "array":
            return _array(value, schema, where)
        case _:
            return _string(value, schema, where)


def _object(value: Any, schema: dict[str, Any], where: str) -> str:
    if not isinstance(value, dict):
        return f"{where} is no object"
    properties = schema["properties"]
    if value.keys() != properties.keys():
        names = sorted(value.keys() ^ properties.keys())
        return f"{where}: {names[0]} is missing or unknown"
    found = (violation(value[name], properties[name], name) for name in properties)
    return next((wrong for wrong in found if wrong), "")


def _array(value: Any, schema: dict[str, Any], where: str) -> str:
    if not isinstance(value, list):
        return f"{where} is no list"
    if not schema["minItems"] <= len(value) <= schema["maxItems"]:
        return f"{where} has {len(value)} entries"
    found = (violation(item, schema["items"], where) for item in value)
    return next((wrong for wrong in found if wrong), "")


def _string(value: Any, schema: dict[str, Any], where: str) -> str:
    if not isinstance(value, str):
        return f"{where} is no text"
    if "enum" in schema:
        return "" if value in schema["enum"] else f"{where} is none of those allowed"
    if "pattern" in schema:
        return "" if re.search(schema["pattern"], value) else f"{where} has another form"
    if not schema["minLength"] <= len(value) <= schema["maxLength"]:
        return f"{where} has {len(value)} characters"
    return ""
