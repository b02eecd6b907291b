"""The engine's list as the gateway knows it."""

from __future__ import annotations

import asyncio
from typing import Any

from local_ai_suite.gateway.known_models import KnownModels
from local_ai_suite.wire.upstream import UpstreamError

LIST = b'{"object": "list", "data": [{"id": "local-chat", "meta": {"n_ctx": 4096}}]}'


class Engine:
    """An engine service that is not up yet, and then is: a fault, so a fake."""

    def __init__(self) -> None:
        self.up = False
        self.asked = 0

    async def start(self, *_: Any) -> Engine:
        self.asked += 1
        if not self.up:
            raise UpstreamError("nobody listens")
        return self

    status = 200

    async def head(self) -> None: ...

    async def read_all(self, _limit: int) -> bytes:
        return LIST

    def close(self) -> None: ...


def test_an_engine_that_starts_after_it_was_asked_is_known_at_once() -> None:
    engine = Engine()
    known = KnownModels(engine, "", None, clock=lambda: 100.0)  # type: ignore[arg-type]

    async def story() -> None:
        assert await known.refresh() is None
        engine.up = True
        entries = await known.refresh()
        assert entries is not None
        assert entries["local-chat"]["meta"]["n_ctx"] == 4096
        before = engine.asked
        await known.refresh()
        assert engine.asked == before, "who asks at once shares one answer"

    asyncio.run(story())
