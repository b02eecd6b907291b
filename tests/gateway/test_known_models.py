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
        self.answering = asyncio.Event()
        self.answering.set()

    async def start(self, *_: Any) -> Engine:
        self.asked += 1
        if not self.up:
            raise UpstreamError("nobody listens")
        await self.answering.wait()
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

    asyncio.run(story())


def test_who_asks_at_once_shares_an_answer_and_nobody_gets_an_older_one() -> None:
    engine = Engine()
    engine.up = True
    known = KnownModels(engine, "", None)  # type: ignore[arg-type]

    async def story() -> None:
        await asyncio.gather(*(known.refresh() for _ in range(100)))
        assert engine.asked == 1
        await known.refresh()
        assert engine.asked == 2, "what was said before the call does not count"
        engine.answering.clear()
        under_way = asyncio.create_task(known.refresh())
        for _ in range(10):  # turns of the loop
            await asyncio.sleep(0)
        assert engine.asked == 3
        late = [asyncio.create_task(known.refresh()) for _ in range(100)]
        await asyncio.sleep(0)
        engine.answering.set()
        await asyncio.gather(under_way, *late)
        assert engine.asked == 4, "those who came meanwhile share the next"
        with_one_that_leaves = [asyncio.create_task(known.refresh()) for _ in range(2)]
        await asyncio.sleep(0)
        with_one_that_leaves[0].cancel()
        assert await with_one_that_leaves[1] is not None

    asyncio.run(asyncio.wait_for(story(), 10))
