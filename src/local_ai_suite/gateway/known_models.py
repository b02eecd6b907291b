"""What an engine says about its models: limits, slots, state.

The engine is asked when somebody wants to know, one question at a time for all who want to know,
and never per relayed request: relaying reads what was last said.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import orjson

from local_ai_suite.templates import Abilities
from local_ai_suite.wire.upstream import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local_ai_suite.wire.upstream import Upstream

# Between two tries of relaying to learn the limits from an engine that does not answer.
RETRY_S = 1.0
# The list costs the engine service nothing; one that is this slow is as good as away.
ASK_TIMEOUT_S = 2.0
# Limits may change when a model is loaded again: relaying looks again after this time.
REFRESH_S = 10.0
_MAX_LIST = 4 * 1024 * 1024


class KnownModels:
    """The engine's list, asked for when it is wanted."""

    def __init__(
        self,
        upstream: Upstream,
        prefix: str,
        api_key: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._upstream = upstream
        self._path = f"{prefix}/v1/models"
        self._api_key = api_key
        self._clock = clock
        self._asked = -1e9
        self._asking: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None
        self.entries: Mapping[str, Mapping[str, Any]] | None = None
        self.left_out: Mapping[str, str] = {}
        """Files that are there and cannot be served: by their name, why."""

    def engine_name(self, name: str) -> str:
        """The name under which the engine answers for ``name``: one model may have several."""
        entry = (self._current() or {}).get(name)
        told = (entry.get("meta") or {}).get("name") if entry else None
        return told if isinstance(told, str) and told else name

    def slots(self, engine: str) -> int | None:
        """How many requests the engine serves at once for a model; ``None`` if not known."""
        return self._number(engine, "parallel")

    def context(self, engine: str) -> int | None:
        """Tokens per slot; ``None`` if not known."""
        return self._number(engine, "n_ctx")

    def abilities(self, engine: str) -> Abilities | None:
        """What the chat template of a model takes; ``None`` if not known."""
        meta = self._meta(engine)
        return Abilities.from_dict(meta.get("template"))

    def may_learn(self, engine: str) -> bool:
        """Whether loading the model would tell its abilities: this suite's engine service asks a
        template when it is loaded the first time."""
        meta = self._meta(engine)
        return "template" in meta and meta["template"] is None and meta.get("status") != "ready"

    def _meta(self, engine: str) -> Mapping[str, Any]:
        entry = (self._current() or {}).get(engine)
        found: Mapping[str, Any] = (entry.get("meta") or {}) if entry else {}
        return found

    def _number(self, engine: str, key: str) -> int | None:
        value = self._meta(engine).get(key)
        return value if isinstance(value, int) and value > 0 else None

    def _current(self) -> Mapping[str, Mapping[str, Any]] | None:
        if self._clock() - self._asked > (RETRY_S if self.entries is None else REFRESH_S):
            self.refresh_soon()
        return self.entries

    def refresh_soon(self) -> asyncio.Task[None]:
        """Ask in the background; whoever wants the answer now calls :meth:`refresh`."""
        if self._asking is None or self._asking.done():
            self._asked = self._clock()
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return self._asking

    async def refresh(self) -> Mapping[str, Mapping[str, Any]] | None:
        """Entries by name, as they are now; ``None`` when the engine does not answer.

        What was said before the call, or asked before it, does not count: whoever has just put a
        file there, loaded a model or started the engine must see it. All who come while one
        question is under way share the next.
        """
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._ask_anew())
        await asyncio.shield(self._next)
        return self.entries

    async def _ask_anew(self) -> None:
        if self._asking is not None:
            await asyncio.wait({self._asking})
        self._next = None  # who comes from here on asks again
        await self.refresh_soon()

    async def _ask(self) -> None:
        headers = [(b"accept", b"application/json")]
        if self._api_key:
            headers.append((b"authorization", b"Bearer " + self._api_key.encode()))
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                exchange = await self._upstream.start("GET", self._path, headers)
                try:
                    await exchange.head()
                    body = await exchange.read_all(_MAX_LIST)
                finally:
                    exchange.close()
            said = orjson.loads(body) if exchange.status == 200 else {"data": None}
            listed = said["data"]
            self.entries = None if listed is None else {str(e["id"]): e for e in listed}
            self.left_out = dict(said.get("left_out") or {})
        except (UpstreamError, TimeoutError, ValueError, KeyError, TypeError):
            self.entries = None
        self._asked = self._clock()
