"""The engines behind local names: each address with its client, its models, slots and health."""

from __future__ import annotations

import asyncio
import time
from collections import ChainMap
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import SuiteError
from local_ai_suite.gateway.known_models import KnownModels
from local_ai_suite.gateway.queue import Queues
from local_ai_suite.wire.upstream import Upstream, UpstreamUnreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping

    from local_ai_suite.gateway.config import Route

# A service that died is started again within a few seconds.
AWAY_S = 3


class EngineAway(SuiteError):
    """Nobody listens at the engine's address."""

    code = "engine_unreachable"
    http_status = 503


class Member:
    """One address that serves local names."""

    def __init__(
        self, api_base: str, api_key: str | None, *, silence_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.client = Upstream.from_url(api_base, silence_timeout_s=silence_timeout_s)
        path = "/" + api_base.partition("://")[2].partition("/")[2]
        self.prefix = path.rstrip("/").removesuffix("/v1").rstrip("/")
        """The path before the engine's routes, mostly ""."""
        self.api_key = api_key
        self.models = KnownModels(self.client, self.prefix, api_key)
        self.queues = Queues(self.models.slots)
        self._clock = clock
        self._away_until = 0.0

    @property
    def away(self) -> bool:
        """Nobody listened there a moment ago."""
        return self._clock() < self._away_until

    @asynccontextmanager
    async def place(self, model: str, kind: str) -> AsyncIterator[tuple[Upstream, str]]:
        """A place at the engine, in turn. Raises QueueFull, and EngineAway for a failed connect."""
        queue = self.queues.of(model, kind)
        if queue is not None:
            await queue.enter()
        try:
            yield self.client, self.prefix
        except UpstreamUnreachable as exc:
            self._away_until = self._clock() + AWAY_S
            raise EngineAway(
                f"The inference service does not answer: {exc.message}",
                hint="`lais status` tells what runs; a service that died is started again.",
                retry_after=AWAY_S,
            ) from exc
        finally:
            if queue is not None:
                queue.leave()


class Upstreams:
    """All members, and which of them a request goes to."""

    def __init__(self, routes: Iterable[Route], *, silence_timeout_s: float) -> None:
        self._members: dict[str, Member] = {}
        for route in routes:
            for base in route.api_bases:
                if base not in self._members:
                    self._members[base] = Member(
                        base, route.api_key, silence_timeout_s=silence_timeout_s
                    )

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def choose(self, route: Route) -> Member:
        """The member for the next request to ``route``: one that answers, the least busy."""
        if len(route.api_bases) == 1:
            return self._members[route.api_bases[0]]
        members = [self._members[base] for base in route.api_bases]
        return min(members, key=lambda member: (member.away, member.client.busy))

    async def refresh(self) -> Mapping[str, Mapping[str, Any]] | None:
        """What the engines say of their models, by name; ``None`` when none of them answers."""
        await asyncio.gather(*(member.models.refresh() for member in self))
        return self.known()

    def known(self) -> Mapping[str, Mapping[str, Any]] | None:
        """The same, as it was last said."""
        found = [member.models.entries for member in self if member.models.entries is not None]
        return dict(ChainMap(*map(dict, found))) if found else None

    def serving(self, name: str) -> tuple[str, ...]:
        """The addresses of the members that have a model of this name."""
        members = self._members.items()
        return tuple(base for base, member in members if name in (member.models.entries or ()))

    def left_out(self) -> Mapping[str, str]:
        """Files that some engine has and cannot serve: by their name, why."""
        return dict(ChainMap(*(dict(member.models.left_out) for member in self)))

    def counts(self) -> dict[tuple[str, str], tuple[int, int]]:
        """(model, kind of request) -> (at the engines, in the queues)."""
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for member in self:
            for key, (running, waiting) in member.queues.counts().items():
                before = found.get(key, (0, 0))
                found[key] = (before[0] + running, before[1] + waiting)
        return found

    def close(self) -> None:
        for member in self:
            member.client.close()
