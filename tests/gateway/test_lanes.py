"""Queues: their order, their bound, and who leaves them early."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from local_ai_suite.gateway.lanes import Lanes, QueueFull


def go(main: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await main

    asyncio.run(bounded())


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_lane_is_first_come_first_served_and_as_wide_as_the_engine() -> None:
    async def main() -> None:
        lanes = Lanes(lambda _model: 2)
        order: list[int] = []
        go_on = asyncio.Event()

        async def work(number: int) -> None:
            ticket = await lanes.enter("m", "chat")
            order.append(number)
            await go_on.wait()
            ticket.leave()

        tasks = [asyncio.ensure_future(work(number)) for number in range(20)]
        await settle()
        assert order == [0, 1]
        assert lanes.counts() == {("m", "chat"): (2, 18)}
        go_on.set()
        await asyncio.gather(*tasks)
        assert order == list(range(20))
        assert lanes.counts() == {("m", "chat"): (0, 0)}

    go(main())


def test_a_completion_does_not_wait_behind_chat_and_counting_never_waits() -> None:
    async def main() -> None:
        lanes = Lanes(lambda _model: 1)
        await lanes.enter("m", "chat")
        waiting = asyncio.ensure_future(lanes.enter("m", "chat"))
        await settle()
        assert not waiting.done()
        for lane in ("completion", "none", "none"):
            await lanes.enter("m", lane)
        await lanes.enter("other", "chat")
        waiting.cancel()

    go(main())


def test_a_full_queue_refuses_with_a_time_to_come_back() -> None:
    async def main() -> None:
        lanes = Lanes(lambda _model: 1, max_waiting=1)
        await lanes.enter("m", "chat")
        waiting = asyncio.ensure_future(lanes.enter("m", "chat"))
        await settle()
        with pytest.raises(QueueFull) as raised:
            await lanes.enter("m", "chat")
        assert raised.value.http_status == 429
        assert raised.value.details["retry_after"] > 0
        waiting.cancel()

    go(main())


def test_who_hangs_up_while_waiting_is_passed_over_even_when_its_turn_has_just_come() -> None:
    async def main() -> None:
        lanes = Lanes(lambda _model: 1)
        first = await lanes.enter("m", "chat")
        gone = asyncio.ensure_future(lanes.enter("m", "chat"))
        late = asyncio.ensure_future(lanes.enter("m", "chat"))
        last = asyncio.ensure_future(lanes.enter("m", "chat"))
        await settle()
        gone.cancel()
        await settle()
        assert lanes.counts()["m", "chat"] == (1, 2)
        first.leave()  # late's turn comes,
        late.cancel()  # and in the same moment it hangs up
        await settle()
        assert last.done()
        (await last).leave()
        assert lanes.counts()["m", "chat"] == (0, 0)

    go(main())


def test_a_ticket_is_given_back_once() -> None:
    async def main() -> None:
        lanes = Lanes(lambda _model: None)
        ticket = await lanes.enter("m", "chat")
        ticket.leave()
        ticket.leave()
        assert lanes.counts()["m", "chat"] == (0, 0)

    go(main())
