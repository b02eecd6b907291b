"""One request on its way through the gateway, and what is known about it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_ai_suite.wire.asgi import Send
    from local_ai_suite.wire.envelope import Envelope


@dataclass(slots=True)
class Call:
    """Times are ``time.perf_counter`` seconds; token counts are ``None`` where nobody said.

    ``envelope`` is that of the API that was called; ``path`` is canonical; ``query`` is as it came,
    without its question mark; ``headers`` go onto every answer (request id, CORS).
    """

    send: Send
    envelope: Envelope
    method: str
    path: str
    query: str
    request_id: str
    headers: list[tuple[bytes, bytes]]
    key: str | None = None
    model: str = ""
    route: str = ""
    kind: str = ""
    status: int = 0
    streamed: bool = False
    begun: float = field(default_factory=time.perf_counter)
    admitted: float = 0.0
    connected: float = 0.0
    first_byte: float = 0.0
    tokens_in: int | None = None
    tokens_out: int | None = None
    context_limit: int | None = None
    hung_up: bool = False
    error: str = ""

    def timing(self, *, total: bool) -> tuple[bytes, bytes]:
        """``Server-Timing`` in milliseconds: queue, connect, first byte, and the whole if known."""
        begun = self.begun
        admitted = self.admitted or begun
        connected = self.connected or admitted
        first = self.first_byte or connected
        text = b"queue;dur=%.2f, connect;dur=%.2f, first;dur=%.2f" % (
            (admitted - begun) * 1e3,
            (connected - admitted) * 1e3,
            (first - connected) * 1e3,
        )
        if total:
            text += b", total;dur=%.2f" % ((time.perf_counter() - begun) * 1e3)
        return b"server-timing", text
