"""One JSON line per request, without prompts, answers, queries or keys (a key's name only)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import orjson

from local_ai_suite.gateway.metrics import HUNG_UP

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_ai_suite.gateway.call import Call

# Lines are written together: a write per request would be a third of a short request's cost.
FLUSH_S = 0.2
_MOST_WAITING = 1000


class AccessLog:
    """``write`` gets bytes that end in a line break."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._lines: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, call: Call, now: float) -> None:
        """Note a call that has ended at ``now`` (``time.perf_counter``)."""
        entry: dict[str, object] = {
            "time": round(time.time(), 3),
            "id": call.request_id,
            "method": call.method,
            "path": call.path[:200],
            "status": HUNG_UP if call.hung_up else call.status,
            "ms": round((now - call.begun) * 1e3, 1),
        }
        if call.model:
            entry |= {"model": call.model, "via": call.kind, "stream": call.streamed}
            if call.first_byte:
                entry["first_ms"] = round((call.first_byte - call.begun) * 1e3, 1)
        for name, value in (
            ("key", call.key),
            ("tokens_in", call.tokens_in),
            ("tokens_out", call.tokens_out),
            ("error", call.error or None),
        ):
            if value is not None:
                entry[name] = value
        self._lines.append(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))
        if len(self._lines) >= _MOST_WAITING:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Write what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lines:
            text = b"".join(self._lines)
            self._lines.clear()
            self._write(text)
