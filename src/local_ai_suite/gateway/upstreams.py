"""The engines behind local names: each address with its client, its models, slots and health."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import ChainMap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from local_ai_suite.errors import SuiteError
from local_ai_suite.gateway.known_models import KnownModels
from local_ai_suite.gateway.queue import Queue, Queues
from local_ai_suite.wire.upstream import Upstream, UpstreamError, UpstreamUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from local_ai_suite.gateway.config import Route
    from local_ai_suite.templates import Abilities

logger = logging.getLogger(__name__)

# A service that died is started again within a few seconds.
AWAY_S = 3
# One model's row of facts.
MAX_FACTS = 1024 * 1024


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
        self._loading: dict[str, asyncio.Task[None]] = {}

    @property
    def away(self) -> bool:
        """Nobody listened there a moment ago."""
        return self._clock() < self._away_until

    def template(self, model: str) -> ModelTemplate:
        """The chat template of ``model``, as the engine knows it by this name."""
        return ModelTemplate(self, model)

    async def load(self, model: str) -> None:
        """Have ``model`` loaded, and look what is told of it then. Who asks meanwhile joins in."""
        loading = self._loading.get(model)
        if loading is None:
            loading = self._loading[model] = asyncio.create_task(self._load(model))
            loading.add_done_callback(lambda _: self._loading.pop(model, None))
        await asyncio.shield(loading)

    async def _load(self, model: str) -> None:
        headers = [(b"content-type", b"application/json")]
        if self.api_key:
            headers.append((b"authorization", b"Bearer " + self.api_key.encode()))
        target, body = f"{self.prefix}/models/load", orjson.dumps({"model": model})
        try:
            exchange = await self.client.start("POST", target, headers, body)
            try:
                await exchange.head()
                await exchange.read_all(MAX_FACTS)
            finally:
                exchange.close()
        except UpstreamError as exc:  # the request itself will tell its client
            logger.info("%s could not be loaded to learn about its template: %s", model, exc)
        await self.models.refresh()

    def place(self, model: str, kind: str) -> Place:
        """A place for one request for ``model``; ``kind`` is its route's queue."""
        return Place(self, self.queues.of(model, kind))

    def gone(self) -> None:
        """Nobody listens there: pass it over for a while."""
        self._away_until = self._clock() + AWAY_S


class Place:
    """A place at an engine, waited for in turn and given back at the end.

    ``async with`` gives the client and the path before the engine's routes. Raises QueueFull, and
    EngineAway when nobody listens.
    """

    __slots__ = ("_member", "_queue")

    def __init__(self, member: Member, queue: Queue | None) -> None:
        self._member = member
        self._queue = queue

    async def __aenter__(self) -> tuple[Upstream, str]:
        if self._queue is not None:
            await self._queue.enter()
        return self._member.client, self._member.prefix

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._queue is not None:
            self._queue.leave()
        if isinstance(error, UpstreamUnreachable):
            self._member.gone()
            raise EngineAway(
                f"The inference service does not answer: {error.message}",
                hint="`lais status` tells what runs; a service that died is started again.",
                retry_after=AWAY_S,
            ) from error


@dataclass(frozen=True, slots=True)
class ModelTemplate:
    """What is known of a model's chat template (``protocols.conversation.Template``)."""

    member: Member
    model: str

    @property
    def abilities(self) -> Abilities | None:
        return self.member.models.abilities(self.model)

    async def learn(self) -> Abilities | None:
        """A model that was never loaded is loaded for it: the request that asks needs it anyway."""
        models = self.member.models
        if models.entries is None:
            await models.refresh()
        if self.abilities is None and models.may_learn(self.model):
            await self.member.load(self.model)
        return self.abilities


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
