"""Arguments of earlier tool calls that are no JSON object, made into one."""

from __future__ import annotations

import json
from typing import Any

import orjson

WRAPPED = "arguments"
"""The member under which a text that is no JSON object stands."""


def repaired(given: Any) -> Any:
    """``given`` itself where it is an object or the text of one; else a text that is.

    Nothing (``""``, null) becomes ``{}``. What was cut off by a token limit, plain text, a list or
    a number is kept under :data:`WRAPPED`: the model sees what it wrote.
    """
    if isinstance(given, dict):
        return given
    if given is None:
        return "{}"
    if not isinstance(given, str):
        return json.dumps({WRAPPED: given}, ensure_ascii=False)
    if not given.strip():
        return "{}"
    try:
        # As strict as the engine's parser: no NaN, no half of a surrogate pair.
        value = orjson.loads(given)
    except orjson.JSONDecodeError:
        return json.dumps({WRAPPED: given}, ensure_ascii=False)
    if isinstance(value, dict):
        return given
    return "{}" if value is None else f'{{"{WRAPPED}": {given}}}'
