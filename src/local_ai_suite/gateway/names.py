"""The names that clients may say: the config's, and those of every file that the engine serves.

A name is looked for as it was said; then, so that a client's habits don't matter, without
``openai/`` before it, ``.gguf`` or ``:latest`` after it, and in any case of letters, where that
leaves one model only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_ai_suite.gateway.config import Route

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local_ai_suite.gateway.config import GatewayConfig
    from local_ai_suite.gateway.upstreams import Upstreams
    from local_ai_suite.wire import routes as wire

    Entry = Mapping[str, Any]

CODE = "local-code"
# A model's kind in the engine's words, and what a route is for, as LiteLLM's ``mode`` says it.
_MODES = {"embed": "embedding", "rerank": "rerank"}


class Names:
    """Finds the route of a name, and tells which names there are."""

    def __init__(self, config: GatewayConfig, upstreams: Upstreams, created: int) -> None:
        self._config = config
        self._upstreams = upstreams
        self._created = created
        # Where every route is LiteLLM's (budgets, guardrails), a file has no way around it.
        self._local = next((r for r in config.every_route() if r.kind == "local"), None)

    async def find(self, name: str) -> Route | None:
        """The route of ``name``; asks the engine for its models before it says no."""
        if (found := self._config.routes.get(name)) is not None:
            return found
        found = self._known(name)
        if found is None and self._local is not None:
            await self._upstreams.refresh()
            found = self._known(name)
        return found

    def default(self, endpoint: wire.Route) -> str | None:
        """The name for a request that says none; ``None`` where no local model fits."""
        mode = _MODES.get(endpoint.use, "chat")
        local = [route for route in self._routes() if route.kind == "local" and route.mode == mode]
        if endpoint.prefers_code and any(route.public == CODE for route in local):
            return CODE
        return local[0].public if local else None

    async def listed(self) -> list[dict[str, Any]]:
        """The entries of ``/v1/models``: every name that works, with the limits that are known.

        A local name whose model the engine does not have is left out, unless the engine does not
        answer at all: then the names are all there is.
        """
        known = await self._upstreams.refresh()
        return [
            _entry(route, (known or {}).get(route.engine), self._created)
            for route in self._routes()
            if not route.api_bases or known is None or route.engine in known
        ]

    async def why_not(self, name: str) -> str:
        """What to tell who asked for a ``name`` that has no route."""
        names = ", ".join(sorted(entry["id"] for entry in await self.listed()))
        left_out = self._upstreams.left_out().items()
        whys = [why for file, why in left_out if _loose(file) == _loose(name)]
        what = f"is there, but it cannot be served: {whys[0]}" if whys else "does not exist"
        return f"The model {name!r} {what}. Models here: {names}."

    def _routes(self) -> Iterator[Route]:
        """The config's routes, then those of the engine's further names."""
        yield from self._config.routes.values()
        if self._local is not None:
            for name in self._upstreams.known() or ():
                if name not in self._config.routes:
                    yield self._of_engine(name, self._local)

    def _known(self, name: str) -> Route | None:
        known = self._upstreams.known() or {}
        if self._local is not None and name in known:
            return self._of_engine(name, self._local)
        if (wildcard := self._config.find(name)) is not None:
            return wildcard
        wanted = _loose(name)
        routes = [route for route in self._routes() if _loose(route.public) == wanted]
        models = {(route.kind, route.engine) for route in routes}
        return routes[0] if len(models) == 1 else None

    def _of_engine(self, name: str, like: Route) -> Route:
        meta = ((self._upstreams.known() or {}).get(name) or {}).get("meta") or {}
        shown = meta.get("name")
        return Route(
            public=name,
            kind="local",
            engine=name,
            api_bases=self._upstreams.serving(name),
            api_key=like.api_key,
            mode=_MODES.get(str(meta.get("kind")), "chat"),
            reason="a model of the engine's",
            alias_of=shown if shown != name and isinstance(shown, str) else None,
        )


def _loose(name: str) -> str:
    return name.removeprefix("openai/").removesuffix(":latest").lower().removesuffix(".gguf")


def _entry(route: Route, engine: Entry | None, created: int) -> dict[str, Any]:
    meta = (engine or {}).get("meta") or {}
    entry: dict[str, Any] = {
        "id": route.public,
        "object": "model",
        "created": (engine or {}).get("created") or created,
        "owned_by": "local" if route.kind == "local" else "litellm",
        "mode": route.mode,
    }
    if (context := meta.get("n_ctx")) is not None:
        # The same number under each name that some client reads.
        entry["context_length"] = entry["context_window"] = context
        entry["max_model_len"] = entry["max_input_tokens"] = context
    else:
        for key in ("max_input_tokens", "max_output_tokens"):
            if key in route.info:
                entry[key] = route.info[key]
    if (output := meta.get("default_max_output")) is not None:
        entry["max_output_tokens"] = output
    if route.alias_of:
        entry["alias_of"] = route.alias_of
    if meta:
        entry["meta"] = meta
    return entry
