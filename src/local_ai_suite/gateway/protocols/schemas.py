"""The JSON Schemas of a request, written as the engine reads them.

See ``templates.schemas``. What the engine cannot enforce goes with the answer, by its path.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from local_ai_suite.templates import Accepted, accepted

from .body import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .endpoint import Asked

# A schema and where it stands: its owner, the member's name, and what to call it.
Place = tuple[dict[str, Any], str, str]

# Clients send the same tools with every turn.
_REMEMBERED, _REMEMBERED_REQUESTS = 512, 64
# The members of a request that may hold schemas.
_HOLDERS = ("tools", "response_format", "json_schema")
_NOTHING = [None] * len(_HOLDERS)


def schemas(asked: Asked) -> None:
    """Put every schema of the request into the engine's form."""
    held = [asked.request.get(name) for name in _HOLDERS]
    if held == _NOTHING or _right_as_they_are(dumps(held)):
        return
    found = [(name, _known(dumps(owner[key]))) for owner, key, name in _places(asked.request)]
    for name, known in found:
        if known is not None:
            asked.not_enforced += [f"{name}{path}" for path in known.not_enforced]
    if any(known is not None for _, known in found):
        places = list(_places(asked.edit()))
        for (owner, key, _), (_, known) in zip(places, found, strict=True):
            if known is not None:
                owner[key] = known.schema


@lru_cache(maxsize=_REMEMBERED_REQUESTS)
def _right_as_they_are(held: bytes) -> bool:
    """Whether nothing is to be done for a request whose ``_HOLDERS`` have these values."""
    request = dict(zip(_HOLDERS, loads(held), strict=True))
    return all(_known(dumps(owner[key])) is None for owner, key, _ in _places(request))


@lru_cache(maxsize=_REMEMBERED)
def _known(raw: bytes) -> Accepted | None:
    """``None`` for a schema that is right as it is."""
    schema = loads(raw)
    made = accepted(schema)
    return None if made.schema == schema and not made.not_enforced else made


def parameters(request: dict[str, Any]) -> Iterator[Place]:
    """The schemas of the tools' parameters."""
    tools = request.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if not isinstance(tool, dict):
            continue
        function = tool.get("function")
        for owner, key in ((function, "parameters"), (tool, "input_schema")):
            if isinstance(owner, dict) and isinstance(owner.get(key), dict | bool):
                yield owner, key, str(owner.get("name"))


def _places(request: dict[str, Any]) -> Iterator[Place]:
    yield from parameters(request)
    wanted = request.get("response_format")
    if isinstance(wanted, dict):
        for owner in (wanted, wanted.get("json_schema")):
            if isinstance(owner, dict) and isinstance(owner.get("schema"), dict | bool):
                yield owner, "schema", "response_format"
    if isinstance(request.get("json_schema"), dict | bool):
        yield request, "json_schema", "json_schema"
