"""Queues: their order, their bound, and who leaves them early."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from local_ai_suite.gateway.queue import Queue, QueueFull, Queues


def go(main: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await main

    asyncio.run(bounded())


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_queue_is_first_come_first_served_and_as_wide_as_the_engine() -> None:
    async def main() -> None:
        queue = Queue(lambda: 2)
        order: list[int] = []
        go_on = asyncio.Event()

        async def work(number: int) -> None:
            await queue.enter()
            order.append(number)
            await go_on.wait()
            queue.leave()

        tasks = [asyncio.ensure_future(work(number)) for number in range(20)]
        await settle()
        assert order == [0, 1]
        assert (queue.running, queue.waiting) == (2, 18)
        go_on.set()
        await asyncio.gather(*tasks)
        assert order == list(range(20))
        assert (queue.running, queue.waiting) == (0, 0)

    go(main())


def test_each_model_and_kind_has_a_queue_of_its_own_and_counting_tokens_none() -> None:
    queues = Queues({"m": 1}.get)
    assert queues.of("m", "chat") is queues.of("m", "chat")
    different = {queues.of("m", "chat"), queues.of("m", "completion"), queues.of("other", "chat")}
    assert len(different) == 3
    assert queues.of("m", "none") is None
    assert queues.counts()["m", "completion"] == (0, 0)


def test_a_full_queue_refuses_with_a_time_to_come_back() -> None:
    async def main() -> None:
        queue = Queue(lambda: 1, max_waiting=1)
        await queue.enter()
        waiting = asyncio.ensure_future(queue.enter())
        await settle()
        with pytest.raises(QueueFull) as raised:
            await queue.enter()
        assert raised.value.http_status == 429
        assert raised.value.details["retry_after"] > 0
        waiting.cancel()

    go(main())


def test_who_hangs_up_while_waiting_is_passed_over_even_when_its_turn_has_just_come() -> None:
    async def main() -> None:
        queue = Queue(lambda: 1)
        await queue.enter()
        gone, late, last = (asyncio.ensure_future(queue.enter()) for _ in range(3))
        await settle()
        gone.cancel()
        await settle()
        assert (queue.running, queue.waiting) == (1, 2)
        queue.leave()  # late's turn comes,
        late.cancel()  # and in the same moment it hangs up
        await settle()
        assert last.done()
        queue.leave()
        assert (queue.running, queue.waiting) == (0, 0)

    go(main())


def test_who_hangs_up_just_before_a_place_is_free_is_cancelled_and_nothing_else() -> None:
    async def main() -> None:
        queue = Queue(lambda: 1)
        await queue.enter()
        gone = asyncio.ensure_future(queue.enter())
        last = asyncio.ensure_future(queue.enter())
        await settle()
        gone.cancel()  # it has not run since,
        queue.leave()  # and the place is given away already
        with pytest.raises(asyncio.CancelledError):
            await gone
        await last
        assert (queue.running, queue.waiting) == (1, 0)

    go(main())
