"""Which request needs which mend; everything else is never parsed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .errors import fail_event, mend_error
from .rename import rename

if TYPE_CHECKING:
    from .plan import Mend, Reply, Target

_STREAM = re.compile(rb'"stream"\s*:\s*true')

__all__ = ["fail_event", "mend_error", "plan"]


def plan(route: str, body: bytes, target: Target) -> Mend | Reply | None:
    """The mend that this request needs, if any; see the package's docstring.

    ``body`` is the whole request, already known to be a JSON object whose model is
    ``target.public``.
    """
    if target.public != target.engine:
        return rename(route, body, target, streams=asks_for_stream(body))
    return None


def asks_for_stream(body: bytes) -> bool:
    """Whether the request says ``"stream": true``; wrong only for nested members so named."""
    return _STREAM.search(body) is not None
