"""HTTP on 8001: one address for all models. ``python -m local_ai_suite.engine.server``.

A request's ``model`` decides which engine process gets it; the pool loads that model if need be.
Bytes are passed on as they are, both ways. A client that hangs up cancels the task, which closes
the engine's socket, and the engine frees its slot.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

import orjson

from local_ai_suite.errors import SuiteError
from local_ai_suite.log import log_to_stderr
from local_ai_suite.paths import find_paths
from local_ai_suite.settings import load_settings
from local_ai_suite.wire.asgi import BodyError, ClientGone, answer, header, read_body
from local_ai_suite.wire.envelope import envelope_of, error_for, suite_error
from local_ai_suite.wire.guard import Guard, Refusal, cors_headers, host_set, origin_set, single_key
from local_ai_suite.wire.serve import Server, listen, run
from local_ai_suite.wire.upstream import UpstreamError, forwardable

from .routes import FORWARDED, WATCHED, mismatch, model_rows
from .service import EngineService

if TYPE_CHECKING:
    from local_ai_suite.settings import Settings
    from local_ai_suite.wire.asgi import Receive, Scope, Send

    from .lease import Lease
    from .model import Model
    from .pool import Pool

logger = logging.getLogger(__name__)

# The client's key opens 8001, never the engine behind it, which has a key of its own; Host and
# Content-Length are written anew.
_NOT_PASSED_ON = frozenset({
    b"host", b"content-length", b"authorization", b"x-api-key", b"api-key", b"x-litellm-api-key",
    b"origin", b"cookie", b"accept-encoding", b"expect",
})  # fmt: skip
# llama-server reflects any Origin; this service decides that itself. Framing is the server's.
_NOT_PASSED_BACK = frozenset({
    b"access-control-allow-origin", b"access-control-allow-credentials", b"server", b"date",
})  # fmt: skip
# An idle event stream says something, so that proxies and sleeping laptops don't cut it.
EVENT_PING_SECONDS = 15.0


class EngineApp:
    """The ASGI application of the engine service."""

    def __init__(self, service: EngineService, settings: Settings) -> None:
        self._service = service
        self._limit = settings.max_request_mib * 2**20
        self._started = int(time.time())
        self._guard = Guard(
            allowed_hosts=host_set((*settings.allowed_hosts, "inference")),
            allowed_origins=origin_set(settings.allowed_origins),
            any_address=not settings.on_loopback,
            require_key=settings.require_key,
            key_check=single_key(settings.litellm_master_key),
        )

    @property
    def _pool(self) -> Pool:
        return self._service.pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        envelope = envelope_of(path)
        verdict = self._guard.check(scope["headers"])
        if not isinstance(verdict, Refusal) or verdict.status == 401:
            # Host and Origin are admitted: the page may read the answer, a refused key's too.
            send = _with_cors(send, scope)
            if scope["method"] == "OPTIONS":  # a browser sends no key with a preflight
                await send({"type": "http.response.start", "status": 204, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
        if isinstance(verdict, Refusal) and path != "/health":
            error = error_for(verdict.status, verdict.message, code=verdict.code)
            await answer(send, verdict.status, envelope.body(verdict.status, error))
            return
        try:
            await self._route(scope, receive, send)
        except ClientGone:
            return
        except SuiteError as exc:
            headers = []
            if wait := exc.details.get("retry_after"):
                headers.append((b"retry-after", b"%d" % max(1, round(wait))))
            body = envelope.body(exc.http_status, suite_error(exc))
            await answer(send, exc.http_status, body, headers=headers)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"].rstrip("/") or "/"
        if method == "POST" and path in FORWARDED:
            await self._forward(scope, receive, send, path)
        elif method == "POST" and path in {"/models/load", "/models/unload"}:
            await self._load_or_unload(scope, receive, send, path)
        elif method in {"GET", "HEAD"} and (found := await self._look(path)) is not None:
            await answer(send, 200, orjson.dumps(found))
        elif method == "GET" and path == "/events":
            await self._events(send)
        elif method == "GET" and path in WATCHED:
            await self._watch(scope, send, path)
        else:
            known = path in FORWARDED or path in {"/models/load", "/models/unload"}
            status = 405 if known else 404
            error = error_for(status, f"{method} {path} is not served here.", code="not_found")
            await answer(send, status, envelope_of(path).body(status, error))

    async def _look(self, path: str) -> dict[str, Any] | None:
        """The GET routes that answer from memory; ``None`` for another path."""
        if path == "/health":
            return {"status": "ok"}
        if path == "/running":
            return self._service.running()
        if path in {"/v1/models", "/models"}:
            await self._service.refresh()
            rows = [row for model in self._pool.models for row in self._rows(model)]
            return {"object": "list", "data": rows, "left_out": self._service.left_out}
        if path.startswith(("/v1/models/", "/models/")):
            name = unquote(path.split("/models/", 1)[1])
            model = await self._service.find(name)
            return next(row for row in self._rows(model) if row["id"] == name)
        return None

    def _rows(self, model: Model) -> list[dict[str, Any]]:
        return model_rows(model, self._started, self._service.templates.get(model.entry))

    async def _load_or_unload(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        body = _object(await read_body(scope, receive, limit=self._limit))
        model = await self._service.find(_model_name(body))
        if path == "/models/load":
            (await self._pool.acquire(model, again=True)).release()
        else:
            await self._pool.unload(model)
        await answer(send, 200, orjson.dumps(self._pool.facts(model)))

    async def _forward(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        body = await read_body(scope, receive, limit=self._limit)
        request = _object(body)
        if "model" in request or path.startswith("/v1/"):
            model = await self._service.find(_model_name(request))
        else:
            model = self._service.default
        if wrong := mismatch(model.entry, FORWARDED[path].use):
            raise BodyError(wrong, hint="GET /v1/models tells what each model can do.")
        lease = await self._service.admit(model)
        try:
            await self._pass_on(scope, send, lease, body)
        finally:
            lease.release()

    async def _watch(self, scope: Scope, send: Send, path: str) -> None:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        named = query.get("model")
        model = await self._service.find(named[0]) if named else self._service.default
        engine = model.engine
        if engine is None or model.actual is None:
            raise BodyError(
                f"{model.name} is not loaded, so there is no {path} of it.",
                hint="POST /models/load loads it.",
            )
        exchange = await engine.upstream.start("GET", path, engine.headers)
        try:
            await exchange.head()
            body = await exchange.read_all(self._limit)
        finally:
            exchange.close()
        kind = next((v for k, v in exchange.headers if k == b"content-type"), b"application/json")
        await answer(send, exchange.status, body, content_type=kind)

    async def _pass_on(self, scope: Scope, send: Send, lease: Lease, body: bytes) -> None:
        engine = lease.engine
        headers = [*forwardable(scope["headers"], _NOT_PASSED_ON), *engine.headers]
        target = scope["path"]
        if query := scope["query_string"]:
            target += "?" + query.decode("latin-1")
        exchange = await engine.upstream.start(scope["method"], target, headers, body)
        started = False
        try:
            await exchange.head()
            back = [*forwardable(exchange.headers, _NOT_PASSED_BACK), *_told(lease)]
            streamed = header({"headers": back}, b"content-length") is None
            await send({
                "type": "http.response.start", "status": exchange.status, "headers": back
            })  # fmt: skip
            started = True
            while not exchange.at_end:
                piece = await exchange.read()
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except UpstreamError as exc:
            if not started:
                raise await self._cause(lease, exc) from exc
            logger.warning("%s: %s", lease.model.name, exc.message)
            if streamed:
                cause = await self._cause(lease, exc)
                event = envelope_of(scope["path"]).event(suite_error(cause))
                await send({"type": "http.response.body", "body": event})
            else:
                raise asyncio.CancelledError from exc  # cut: its length can't be kept any more
        finally:
            exchange.close()

    async def _cause(self, lease: Lease, error: UpstreamError) -> SuiteError:
        """The engine's death says more than a broken socket."""
        return await self._service.cause(lease, error)

    async def _events(self, send: Send) -> None:
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        with self._pool.events.listen() as queue:
            first = orjson.dumps(self._service.running())
            await _event(send, b"running", first)
            while True:
                try:
                    async with asyncio.timeout(EVENT_PING_SECONDS):
                        event = await queue.get()
                except TimeoutError:
                    await send({"type": "http.response.body", "body": b": ping\n\n",
                                "more_body": True})  # fmt: skip
                    continue
                await _event(send, event["event"].encode(), orjson.dumps(event))


async def _event(send: Send, kind: bytes, data: bytes) -> None:
    body = b"event: " + kind + b"\ndata: " + data + b"\n\n"
    await send({"type": "http.response.body", "body": body, "more_body": True})


def _told(lease: Lease) -> list[tuple[bytes, bytes]]:
    """What a person who debugs wants to see: which model answered, with how much context."""
    model = lease.model
    told = [(b"x-lais-model", model.name.encode()), (b"x-accel-buffering", b"no")]
    if lease.waited:
        told.append((b"x-lais-waited-ms", b"%d" % round(lease.waited * 1000)))
    if model.actual is not None and model.actual.context_per_slot:
        told.append((b"x-lais-context", b"%d" % model.actual.context_per_slot))
    if misfits := [item.message for item in model.deviations if item.failure]:
        told.append((b"x-lais-misfit", "; ".join(misfits).encode("ascii", "replace")))
    return told


def _with_cors(send: Send, scope: Scope) -> Send:
    """``send`` with what a browser needs to let a page from ``scope``'s Origin read the answer."""
    asked = header(scope, b"access-control-request-headers") or b""
    preflight = scope["method"] == "OPTIONS"
    more = cors_headers(header(scope, b"origin"), asked if preflight else None)
    if not more:
        return send

    async def send_with(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *more]
        await send(message)

    return send_with


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise BodyError(f"The request's body is not JSON: {exc}.") from exc
    if not isinstance(value, dict):
        raise BodyError("The request's body must be a JSON object.")
    return value


def _model_name(body: dict[str, Any]) -> str:
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise BodyError(
            "The request names no model.", hint='Send "model"; GET /v1/models lists the names.'
        )
    return name


async def serve(stopping: asyncio.Event) -> int:
    """Run the engine service until ``stopping`` is set."""
    paths = find_paths()
    settings = load_settings(paths)
    service = await EngineService.create(settings, paths)
    listeners = listen(settings.listen_address or settings.bind_address, settings.inference_port)
    server = Server(EngineApp(service, settings), listeners)
    logger.info("serving on %s", ", ".join(listeners.urls))
    try:
        await server.serve_until(stopping)
    finally:
        await service.close()
    return 0


def main() -> int:
    log_to_stderr()
    try:
        return run(serve)
    except SuiteError as exc:
        logger.exception("%s %s", exc.message, exc.hint)
        return exc.exit_code


if __name__ == "__main__":
    sys.exit(main())
