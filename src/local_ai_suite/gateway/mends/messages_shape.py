"""Two members of Anthropic's Messages that llama.cpp gets wrong, put right in the bytes.

- The ``content_block_start`` of a streamed tool_use has no ``input``
  (tools/server/server-task.cpp), which the SDK's types require, and which a tool without
  arguments then never gets.
- A stop at one of ``stop_sequences`` has the reason "end_turn", though ``stop_sequence`` names it.

Inside a JSON string every quote is escaped, so these patterns match members of objects alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .errors import fail_event
from .plan import Mend

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROUTE = "/v1/messages"
_WITHOUT_INPUT = re.compile(rb'("content_block":\{"type":"tool_use","id":"[^"]*","name":"[^"]*")\}')
_ENDED_AT_A_STOP = re.compile(rb'"stop_reason":"end_turn","stop_sequence":(?=")')
_END_OF_EVENT = b"\n\n"


def messages_shape(body: bytes, *, streams: bool) -> Mend:
    """The mend for a Messages request with tools or stop sequences; ``body`` goes as it is."""
    return Mend(
        names=("messages_shape",),
        path=_ROUTE,
        body=body,
        streams=streams,
        answer=_mended,
        stream=_MessagesStream,
    )


def _mended(text: bytes) -> bytes:
    text = _WITHOUT_INPUT.sub(rb'\1,"input":{}}', text)
    return _ENDED_AT_A_STOP.sub(b'"stop_reason":"stop_sequence","stop_sequence":', text)


class _MessagesStream:
    """Whole events are mended; the rest of a cut one waits."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        text = self._rest + chunk
        end = text.rfind(_END_OF_EVENT) + len(_END_OF_EVENT)
        if end < len(_END_OF_EVENT):
            self._rest = text
            return b""
        self._rest = text[end:]
        return _mended(text[:end])

    def finish(self) -> bytes:
        rest, self._rest = self._rest, b""
        return _mended(rest)

    def fail(self, error: Mapping[str, Any]) -> bytes:
        return fail_event(_ROUTE, error)
