"""Several addresses behind one name: who gets the next request, and what is known of them all."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from gateway_fake_engine import FakeEngine, Talk, fake_engine

from local_ai_suite.gateway.config import Route
from local_ai_suite.gateway.upstreams import EngineAway, Upstreams

BOUND = 20.0


def go(main: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(BOUND):
            await main

    asyncio.run(bounded())


async def silent(talk: Talk) -> None:
    await talk.until_closed()


@pytest.fixture
def two() -> Iterator[tuple[FakeEngine, FakeEngine]]:
    with fake_engine(silent, slots=1) as one, fake_engine(silent, slots=2) as other:
        yield one, other


def route(*bases: str) -> Route:
    return Route("local-chat", "local", "local-chat", bases, None, "chat", "a test's")


def upstreams(*routes: Route) -> Upstreams:
    return Upstreams(routes, silence_timeout_s=BOUND)


def test_the_next_request_goes_to_the_least_busy_address(
    two: tuple[FakeEngine, FakeEngine],
) -> None:
    async def main() -> None:
        both = route(*(f"{engine.url}/v1" for engine in two))
        found = upstreams(both)
        try:
            first = found.choose(both)
            busy = await first.client.start("POST", "/x", [], b"{}")
            second = found.choose(both)
            assert second is not first
            await second.client.start("POST", "/x", [], b"{}")
            await second.client.start("POST", "/x", [], b"{}")
            assert found.choose(both) is first
            busy.close()
        finally:
            found.close()

    go(main())


def test_an_address_where_nobody_listens_is_passed_over_for_a_while(
    two: tuple[FakeEngine, FakeEngine],
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"

    async def main() -> None:
        both = route(gone, f"{two[0].url}/v1")
        found = upstreams(both)
        try:
            first = found.choose(both)
            assert first.client.authority in gone
            with pytest.raises(EngineAway) as raised:
                async with first.place("local-chat", "chat") as (client, _):
                    await client.start("POST", "/x", [], b"{}")
            assert raised.value.details["retry_after"] > 0
            assert first.away
            assert first.queues.counts()["local-chat", "chat"] == (0, 0)
            assert found.choose(both).client.authority in two[0].url
        finally:
            found.close()

    go(main())


def test_each_address_has_its_own_slots_and_what_they_say_is_known_together(
    two: tuple[FakeEngine, FakeEngine],
) -> None:
    async def main() -> None:
        both = route(*(f"{engine.url}/prefix/v1" for engine in two))
        found = upstreams(both, both)
        try:
            assert [member.prefix for member in found] == ["/prefix", "/prefix"]
            assert found.known() is None
            assert await found.refresh() is None, "they answer at /v1/models alone"
        finally:
            found.close()
        plain = route(*(f"{engine.url}/v1" for engine in two))
        found = upstreams(plain)
        try:
            entries = await found.refresh()
            assert entries is not None
            assert set(entries) == {"local-chat", "local-code"}
            assert [member.models.slots("local-chat") for member in found] == [1, 2]
            assert found.serving("local-chat") == plain.api_bases
            assert found.serving("nobody") == ()
            for member in found:
                queue = member.queues.of("local-chat", "chat")
                assert queue is not None
                await queue.enter()
            assert found.counts() == {("local-chat", "chat"): (2, 0)}
        finally:
            found.close()

    go(main())
