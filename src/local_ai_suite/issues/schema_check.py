"""Does a value fit one of our schemas? Only the words that :mod:`.sections` uses."""

from __future__ import annotations

import re
from typing import Any

from local_ai_suite.messages import tr


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
        return tr("{where} is no object", where=where)
    properties = schema["properties"]
    if value.keys() != properties.keys():
        names = sorted(value.keys() ^ properties.keys())
        return tr("{where}: {names} is missing or unknown", where=where, names=names[0])
    found = (violation(value[name], properties[name], name) for name in properties)
    return next((wrong for wrong in found if wrong), "")


def _array(value: Any, schema: dict[str, Any], where: str) -> str:
    if not isinstance(value, list):
        return tr("{where} is no list", where=where)
    if not schema["minItems"] <= len(value) <= schema["maxItems"]:
        return tr("{where} has {value} entries", where=where, value=len(value))
    found = (violation(item, schema["items"], where) for item in value)
    return next((wrong for wrong in found if wrong), "")


def _string(value: Any, schema: dict[str, Any], where: str) -> str:
    if not isinstance(value, str):
        return tr("{where} is no text", where=where)
    if "enum" in schema:
        return (
            "" if value in schema["enum"] else tr("{where} is none of those allowed", where=where)
        )
    if "pattern" in schema:
        return (
            ""
            if re.search(schema["pattern"], value)
            else tr("{where} has another form", where=where)
        )
    if not schema["minLength"] <= len(value) <= schema["maxLength"]:
        return tr("{where} has {value} characters", where=where, value=len(value))
    return ""
