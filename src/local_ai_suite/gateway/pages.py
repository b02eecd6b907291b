"""What the gateway answers itself: its health, its models, Ollama's catalogue, its metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from local_ai_suite import __version__
from local_ai_suite.gateway import openapi
from local_ai_suite.gateway.metrics import CONTENT_TYPE
from local_ai_suite.gateway.protocols import anthropic_models
from local_ai_suite.gateway.protocols.ollama import NDJSON, catalogue, models
from local_ai_suite.wire.asgi import JSON
from local_ai_suite.wire.envelope import ANTHROPIC, OLLAMA, OPENAI, error_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local_ai_suite.gateway.names import Names
    from local_ai_suite.gateway.protocols import Endpoint
    from local_ai_suite.gateway.upstreams import Upstreams


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of the gateway's own."""

    status: int
    body: bytes
    content_type: bytes = JSON


class Pages:
    """Answers GET requests (and POST /api/show) out of what is known."""

    def __init__(
        self,
        names: Names,
        upstreams: Upstreams,
        *,
        metrics_text: Callable[[], str],
        is_ready: Callable[[], bool],
        endpoints: Mapping[str, Endpoint],
        on_loopback: bool,
    ) -> None:
        self._names = names
        self._upstreams = upstreams
        self._metrics_text = metrics_text
        self._is_ready = is_ready
        self._endpoints = endpoints
        self._on_loopback = on_loopback

    async def get(self, path: str, query: str = "", *, anthropic: bool = False) -> Page | None:
        """The page at ``path``, or ``None``; ``anthropic``: who asks speaks Anthropic's API.

        Raises Refused for a ``query`` (of the URL) that cannot be served.
        """
        if anthropic and path in {"/v1/models", "/models"}:
            return _page(anthropic_models.listed(await self._names.listed(), query))
        if path == "/health/liveliness":
            return _page({"status": "alive", "version": __version__})
        if path in {"/health/readiness", "/health"}:
            return await self._readiness()
        if path == "/metrics":
            return Page(200, self._metrics_text().encode(), CONTENT_TYPE)
        if path in {"/v1/models", "/models", "/cursor/models"}:
            return _page({"object": "list", "data": await self._names.listed()})
        if path.startswith(("/v1/models/", "/models/")):
            return await self._model(path.partition("models/")[2], anthropic=anthropic)
        if path == "/openapi.json":
            return _page(openapi.document(self._endpoints))
        if path == "/docs" and self._on_loopback:
            shown = openapi.page(openapi.document(self._endpoints))
            return Page(200, shown.encode(), b"text/html; charset=utf-8")
        if path == "/":
            return _page({"name": "Local AI Suite", "version": __version__, "models": "/v1/models"})
        return await self._ollama(path) if path.startswith("/api/") else None

    async def show(self, name: str) -> Page:
        """The answer of Ollama's POST /api/show."""
        found = await self._entry(name)
        if found is None:
            return Page(404, OLLAMA.body(404, error_for(404, f"model '{name}' not found")))
        return _page(catalogue.show(found))

    async def change(self, path: str, asked: Mapping[str, Any]) -> Page:
        """The answer of a route of Ollama's that changes models (:data:`models.CHANGES`)."""
        name = str(asked.get("model") or asked.get("name") or asked.get("source") or "")
        if path == "/api/pull" and await self._entry(catalogue.public_name(name)) is not None:
            stream = asked.get("stream") is not False
            content_type = NDJSON if stream else JSON
            return Page(200, models.pulled(stream=stream), content_type)
        return Page(400, OLLAMA.body(400, error_for(400, models.why_not(path, name))))

    async def _readiness(self) -> Page:
        if not self._is_ready():
            return _page({"status": "starting", "version": __version__}, 503)
        entries = await self._upstreams.refresh()
        engine = "unreachable" if entries is None else "reachable"
        return _page({"status": "ready", "version": __version__, "engine": engine})

    async def _model(self, name: str, *, anthropic: bool) -> Page:
        if (found := await self._entry(name)) is not None:
            return _page(anthropic_models.model(found) if anthropic else found)
        message = await self._names.why_not(name)
        error = error_for(404, message, code="model_not_found", param="model")
        return Page(404, (ANTHROPIC if anthropic else OPENAI).body(404, error))

    async def _entry(self, name: str) -> dict[str, Any] | None:
        route = await self._names.find(name)
        listed = await self._names.listed()
        return next((entry for entry in listed if route and entry["id"] == route.public), None)

    async def _ollama(self, path: str) -> Page | None:
        if path == "/api/version":
            return _page(catalogue.version())
        if path == "/api/tags":
            return _page(catalogue.tags(await self._names.listed()))
        if path == "/api/ps":
            return _page(catalogue.running(await self._names.listed()))
        return None


def _page(value: Any, status: int = 200) -> Page:
    return Page(status, orjson.dumps(value))
