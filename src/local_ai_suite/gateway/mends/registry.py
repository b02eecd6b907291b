"""Which request needs which mend; everything else is never parsed.

The tests for a need are byte searches over the raw body. A hit inside a message's text costs a
parse and nothing else: each mend then looks at the parsed request and may say ``None``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from . import errors
from .cursor import ROUTE as CURSOR
from .cursor import cursor
from .errors import mend_error
from .fim_suffix import fim_suffix
from .forced_tool import forced_tool
from .messages_shape import messages_shape
from .named_tool_use import named_tool_use
from .null_description import null_description
from .ollama import ROUTES as OLLAMA_ROUTES
from .ollama import ollama
from .plan import Mend, Reply, Target
from .rename import rename
from .responses import failed_event, responses

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["fail_event", "mend_error", "plan"]

_STREAM = re.compile(rb'"stream"\s*:\s*true')
# A tool choice of "auto" or "none" is the engine's own.
_FORCES_A_TOOL = re.compile(rb'"tool_choice"\s*:\s*(?:\{|"required")')
_NAMES_A_TOOL = re.compile(rb'"tool_choice"\s*:\s*\{[^{}]*"type"\s*:\s*"tool"')
_HAS_SUFFIX = re.compile(rb'"suffix"\s*:\s*"(?!")')


def plan(route: str, body: bytes, target: Target) -> Mend | Reply | None:
    """The mend that this request needs, if any; see the package's docstring.

    ``body`` is the whole request, already known to be a JSON object whose model is
    ``target.public``.
    """
    if route in OLLAMA_ROUTES:
        return ollama(route, body, target)
    whole = _WHOLE.get(route)
    mended = whole(body, target) if whole else None
    if mended is not None or target.public == target.engine:
        return mended
    return rename(route, body, target, streams=asks_for_stream(body))


def fail_event(route: str, error: Mapping[str, Any]) -> bytes:
    """The event with which ``route``'s API says in mid-stream that it failed."""
    return failed_event(error) if route == "/v1/responses" else errors.fail_event(route, error)


def asks_for_stream(body: bytes) -> bool:
    """Whether the request says ``"stream": true``; wrong only for nested members so named."""
    return _STREAM.search(body) is not None


def _chat(body: bytes, target: Target) -> Mend | Reply | None:
    described = null_description(body)
    if described is not None:
        body = described.body
    forced = forced_tool(body) if _FORCES_A_TOOL.search(body) else None
    return _renamed(forced or described, target)


def _messages(body: bytes, target: Target) -> Mend | Reply | None:
    streams = asks_for_stream(body)
    named = named_tool_use(body) if _NAMES_A_TOOL.search(body) else None
    if isinstance(named, Reply):
        return named
    if named is None and b'"stop_sequences"' not in body and not (streams and b'"tools"' in body):
        return None
    shaped = messages_shape(named.body if named else body, streams=streams)
    return _renamed(named.then(shaped) if named else shaped, target)


def _renamed(mended: Mend | Reply | None, target: Target) -> Mend | Reply | None:
    if not isinstance(mended, Mend) or target.public == target.engine:
        return mended
    return rename(mended.path, mended.body, target, streams=mended.streams).then(mended)


def _completions(body: bytes, target: Target) -> Mend | Reply | None:
    return fim_suffix(body, target) if _HAS_SUFFIX.search(body) else None


def _cursor(body: bytes, target: Target) -> Mend | Reply | None:
    return _renamed(cursor(body, target), target)


_WHOLE: dict[str, Callable[[bytes, Target], Mend | Reply | None]] = {
    CURSOR: _cursor,
    "/v1/chat/completions": _chat,
    "/v1/completions": _completions,
    "/v1/messages": _messages,
    "/v1/responses": responses,
}
"""What each route needs; these give the public name back themselves."""
