"""The service on port 8000: ``python -m local_ai_suite.gateway.server``.

One request: the guard looks at Host, Origin and key; the path says which endpoint; the body names
the model; the config says whose it is. A local model's bytes go through the relay, anything else
to LiteLLM. Importing this module imports neither LiteLLM nor httpx nor pydantic.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
import time
from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import GatewayError, SuiteError
from local_ai_suite.gateway.access_log import AccessLog
from local_ai_suite.gateway.call import Call
from local_ai_suite.gateway.config import GatewayConfig, load_config
from local_ai_suite.gateway.exchange import Exchange, forwarded
from local_ai_suite.gateway.heartbeat import Pace
from local_ai_suite.gateway.keys import KeyFile, Keyring
from local_ai_suite.gateway.limits import Limits, SharedCounts
from local_ai_suite.gateway.litellm_process import LiteLlm
from local_ai_suite.gateway.metrics import Metrics
from local_ai_suite.gateway.names import Names
from local_ai_suite.gateway.pages import Page, Pages
from local_ai_suite.gateway.protocols import (
    ENDPOINTS,
    Asked,
    Endpoint,
    Request,
    Target,
    ask,
)
from local_ai_suite.gateway.protocols.anthropic_models import VERSION_HEADER
from local_ai_suite.gateway.protocols.errors import Refused
from local_ai_suite.gateway.protocols.ollama.catalogue import public_name
from local_ai_suite.gateway.protocols.ollama.models import CHANGES
from local_ai_suite.gateway.store import Database, Missing, Store
from local_ai_suite.gateway.stored_responses import StoredResponses
from local_ai_suite.gateway.upstreams import Upstreams
from local_ai_suite.gateway.workers import Workers, inherited, shared_counts, worker_count
from local_ai_suite.log import log_to_stderr
from local_ai_suite.paths import find_paths
from local_ai_suite.settings import load_settings
from local_ai_suite.wire.asgi import JSON, ClientGone, answer, header, read_body
from local_ai_suite.wire.envelope import ANTHROPIC, envelope_of, error_for, suite_error
from local_ai_suite.wire.guard import (
    KEY_HEADERS,
    Guard,
    Refusal,
    cors_headers,
    host_set,
    origin_set,
)
from local_ai_suite.wire.routes import Route, canonical
from local_ai_suite.wire.serve import Server, listen, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_ai_suite.paths import Paths
    from local_ai_suite.settings import Settings
    from local_ai_suite.wire.asgi import Headers, Receive, Scope, Send

logger = logging.getLogger(__name__)

_LONGEST_ID = 128
# Who starts the services (the supervisor, Docker's health check) asks these, and has no key.
_KEYLESS = frozenset({"/health", "/health/liveliness", "/health/readiness"})


class Gateway:
    """The ASGI application: ``config``'s models at ``endpoints``, which are found by their path."""

    def __init__(
        self,
        config: GatewayConfig,
        guard: Guard,
        *,
        max_body: int,
        litellm: LiteLlm | None = None,
        keyring: Keyring | None = None,
        log: AccessLog | None = None,
        counts: SharedCounts | None = None,
        pace: Pace | None = None,
        store: Store | None = None,
        endpoints: Mapping[str, Endpoint] = ENDPOINTS,
    ) -> None:
        self.config = config
        self.guard = guard
        self.keyring = keyring
        self.litellm = litellm
        self.metrics = Metrics()
        routes = config.every_route()
        self.upstreams = Upstreams(routes, silence_timeout_s=config.request_timeout_s)
        self._all_litellms = all(route.kind == "litellm" for route in routes)
        self._all_local = all(route.kind == "local" for route in routes)
        self._log = log
        self._max_body = max_body
        self._limits = Limits(shared=counts)
        self._pace = pace or Pace()
        self._store = store
        self._stored = StoredResponses(store)
        self._endpoints = endpoints
        self._names = Names(config, self.upstreams, int(time.time()))
        self._pages = Pages(
            self._names,
            self.upstreams,
            metrics_text=lambda: self.metrics.text(self.upstreams.counts()),
            is_ready=self._is_ready,
            endpoints=endpoints,
            on_loopback=not guard.any_address,
        )

    async def begin(self) -> None:
        """Ask for the engine's models; start LiteLLM when everything is its, to be ready."""
        await self.upstreams.refresh()
        if self._all_litellms and self.litellm is not None:
            try:
                await self.litellm.upstream()
            except SuiteError as exc:
                logger.warning("%s %s", exc.message, exc.hint)

    async def close(self) -> None:
        self.upstreams.close()
        if self._store is not None:
            self._store.close()
        if self._log is not None:
            self._log.flush()
        if self.litellm is not None:
            await self.litellm.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        endpoint = self._endpoints.get(path)
        if endpoint is None:
            path = canonical(path)
            endpoint = self._endpoints.get(path)
        request_id = _request_id(header(scope, b"x-request-id"))
        anthropic = header(scope, VERSION_HEADER) is not None
        usual = ANTHROPIC if anthropic else envelope_of(path)
        call = Call(
            send=send,
            envelope=usual if endpoint is None else endpoint.envelope,
            method=scope["method"],
            path=path,
            query=scope["query_string"].decode("ascii"),
            request_id=request_id,
            headers=[(b"x-request-id", request_id.encode("ascii"))],
        )
        self.metrics.in_flight += 1
        try:
            await self._admit(call, endpoint, scope, receive)
        except asyncio.CancelledError:
            call.hung_up = True
            raise
        except ClientGone:
            call.hung_up = True
        except Refused as exc:
            await self._answer_error(call, exc.http_status, exc.error)
        except SuiteError as exc:
            if (wait := exc.details.get("retry_after")) is not None:
                call.headers.append((b"retry-after", b"%d" % wait))
            await self._answer_error(call, exc.http_status, suite_error(exc))
        except Exception:
            # A defect of ours: one clear answer, and the whole story in the log.
            logger.exception("request %s failed", call.request_id)
            if call.status:
                raise  # the answer has begun; the server cuts the connection
            await self._refuse(call, 500, "The gateway failed; see its log.", "internal_error")
        finally:
            self.metrics.in_flight -= 1
            now = time.perf_counter()
            self.metrics.finished(call, now)
            if self._log is not None and not call.path.startswith("/health"):
                self._log.add(call, now)

    async def _admit(
        self, call: Call, endpoint: Endpoint | None, scope: Scope, receive: Receive
    ) -> None:
        verdict = self.guard.check(scope["headers"])
        if isinstance(verdict, Refusal) and verdict.status != 401:
            await self._refuse(call, verdict.status, verdict.message, verdict.code)
            return
        # Host and Origin are admitted. A browser sends no key with a preflight, and a page may read
        # why its key was refused.
        origin = header(scope, b"origin") if isinstance(verdict, Refusal) else verdict.origin
        if origin is not None:
            call.headers += cors_headers(origin)
        if call.method == "OPTIONS":
            await self._preflight(call, scope)
            return
        if not isinstance(verdict, Refusal):
            call.key = verdict.key
        elif call.path not in _KEYLESS:
            # With a database, a key that we don't know may be one that LiteLLM gave out.
            if self.config.litellm_keeps_keys and call.path != "/metrics":
                await self._pass_to_litellm(call, scope, receive)
            else:
                await self._refuse(call, verdict.status, verdict.message, verdict.code)
            return
        key = self.keyring.named(call.key) if call.key and self.keyring else None
        if key is None:
            await self._dispatch(call, endpoint, scope, receive)
            return
        self._limits.enter(key)
        try:
            await self._dispatch(call, endpoint, scope, receive)
        finally:
            self._limits.leave(key)

    async def _dispatch(
        self, call: Call, endpoint: Endpoint | None, scope: Scope, receive: Receive
    ) -> None:
        if endpoint is None:
            await self._other(call, scope, receive)
        elif call.method != "POST":
            call.headers.append((b"allow", b"POST, OPTIONS"))
            await self._refuse(call, 405, f"{call.path} takes POST.", "method_not_allowed")
        else:
            call.route = endpoint.route.path
            body = await read_body(scope, receive, limit=self._max_body)
            await self._model_call(call, endpoint, scope["headers"], Request.read(body))

    async def _model_call(
        self, call: Call, endpoint: Endpoint, headers: Headers, request: Request
    ) -> None:
        name = request.parsed.get("model")
        if name is None and (default := self._names.default(endpoint.route)) is not None:
            name = default
            request = request.naming(name)
        if not isinstance(name, str) or not name:
            message = "you must provide a model parameter"
            await self._refuse(call, 400, message, "missing_model", param="model")
            return
        if not endpoint.spoken_by_litellm:
            name = public_name(name)
        route = self.config.routes.get(name) or await self._names.find(name)
        if route is None:
            message = await self._names.why_not(name)
            await self._refuse(call, 404, message, "model_not_found", param="model")
            return
        call.model, call.kind = route.public, route.kind
        if route.kind == "litellm":
            target = Target(public=name, engine=name if "*" in route.public else route.public)
            if endpoint.spoken_by_litellm:
                path, asked = endpoint.route.path, Asked(endpoint, request, target)
            else:
                asked = ask(self._endpoints, endpoint, request, target)
                path = asked.path
            await self._to_litellm(call, asked, path, headers)
            return
        if endpoint.remembers:
            answers = endpoint.route.use == "generate"
            request = await self._stored.recall(call, self._owner(call), request, answers=answers)
        member = self.upstreams.choose(route)
        engine = member.models.engine_name(name if route.engine == "*" else route.engine)
        call.context_limit = member.models.context(engine)
        asked = ask(self._endpoints, endpoint, request, Target(public=name, engine=engine))
        if asked.reply is not None:
            await self._answer(call, 200, asked.reply)
            return
        sent = forwarded(call, route.api_key, headers)
        exchange = Exchange(
            call, asked, sent, self._pace, local=True, template=member.template(engine)
        )
        await exchange.run(member.place(engine, endpoint.route.queue))

    async def _to_litellm(self, call: Call, asked: Asked, path: str, headers: Headers) -> None:
        if self.litellm is None:
            raise GatewayError("This gateway was started without LiteLLM.")
        if asked.reply is not None:
            await self._answer(call, 200, asked.reply)
            return
        call.kind = "litellm"
        if self.litellm.keeps_keys:  # it judges the client's own key
            sent = forwarded(call, None, headers)
            sent += [pair for pair in headers if pair[0] in KEY_HEADERS]
        else:
            sent = forwarded(call, self.litellm.key, headers)
        target = f"{path}?{call.query}" if call.query else path
        exchange = Exchange(call, asked, sent, self._pace, local=False, target=target)
        await exchange.run(self.litellm.place())

    async def _pass_to_litellm(self, call: Call, scope: Scope, receive: Receive) -> None:
        """Hand over a request as it came, whatever it is about."""
        body = await read_body(scope, receive, limit=self._max_body)
        path = canonical(scope["raw_path"].decode("ascii"))
        endpoint = Endpoint(Route(path, "generate", "none"), envelope=call.envelope)
        asked = Asked(endpoint, Request.of_any(body), Target("", ""))
        await self._to_litellm(call, asked, path, scope["headers"])

    async def _other(self, call: Call, scope: Scope, receive: Receive) -> None:
        page = None
        if call.method in {"GET", "HEAD"}:
            anthropic = header(scope, VERSION_HEADER) is not None
            page = await self._pages.get(call.path, call.query, anthropic=anthropic)
        if call.path == "/api/show" and call.method == "POST":
            asked = Request.read(await read_body(scope, receive, limit=self._max_body)).parsed
            page = await self._pages.show(str(asked.get("model") or asked.get("name") or ""))
        if (call.method, call.path) in CHANGES:
            asked = Request.read(await read_body(scope, receive, limit=self._max_body)).parsed
            page = await self._pages.change(call.path, asked)
        if page is None:
            page = await self._about_stored(call)
        if page is not None:
            call.headers.append((b"cache-control", b"no-store"))
            await self._answer(call, page.status, page.body, page.content_type)
        elif self.litellm and not self._all_local and self.litellm.serves(call.path):
            await self._pass_to_litellm(call, scope, receive)
        else:
            await self._refuse(call, 404, f"There is no {call.path} here.", "not_found")

    async def _about_stored(self, call: Call) -> Page | None:
        """The answer to a request about a stored response. Raises Missing, StoreError."""
        try:
            return await self._stored.page(call.method, call.path, call.query, self._owner(call))
        except Missing:
            if self.litellm and not self._all_local and self.litellm.serves(call.path):
                return None  # it may be one of a model of LiteLLM's
            raise

    def _owner(self, call: Call) -> str:
        """Whose answers are kept together: a key's, by its secret; those of all without a key."""
        key = self.keyring.named(call.key) if call.key and self.keyring else None
        return key.sha256 if key is not None else call.key or ""

    def _is_ready(self) -> bool:
        return not self._all_litellms or (self.litellm is not None and self.litellm.started)

    async def _preflight(self, call: Call, scope: Scope) -> None:
        asked = header(scope, b"access-control-request-headers") or b""
        call.headers = call.headers[:1] + cors_headers(header(scope, b"origin"), asked)
        call.status = 204
        await call.send({"type": "http.response.start", "status": 204, "headers": call.headers})
        await call.send({"type": "http.response.body", "body": b""})

    async def _refuse(
        self, call: Call, status: int, message: str, code: str, param: str | None = None
    ) -> None:
        await self._answer_error(call, status, error_for(status, message, code=code, param=param))

    async def _answer_error(self, call: Call, status: int, error: Mapping[str, Any]) -> None:
        call.error = str(error["code"] or "invalid_request")
        await self._answer(call, status, call.envelope.body(status, error))

    async def _answer(
        self, call: Call, status: int, body: bytes, content_type: bytes = JSON
    ) -> None:
        """An answer of the gateway's own."""
        call.status = status
        await answer(call.send, status, body, headers=call.headers, content_type=content_type)


def _request_id(given: bytes | None) -> str:
    """The client's own id when it is one (printable, short), else a new one."""
    if given and len(given) <= _LONGEST_ID and given.isascii() and b" " not in given:
        text = given.decode("ascii")
        if text.isprintable():
            return text
    return secrets.token_hex(12)


def environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """What the config's ``os.environ/NAME`` may stand for: the environment, then the settings."""
    found = {"INFERENCE_API_BASE": settings.inference_api_base}
    if settings.litellm_master_key:
        found["LITELLM_MASTER_KEY"] = settings.litellm_master_key
    found |= environ
    if not found.get("INFERENCE_API_KEY"):
        # An engine that asks for no key ignores this one; LiteLLM refuses to go without.
        found["INFERENCE_API_KEY"] = found.get("LITELLM_MASTER_KEY") or "none"
    return found


def build(
    settings: Settings, paths: Paths, environ: Mapping[str, str], counts: SharedCounts | None = None
) -> Gateway:
    """The application for these settings. Raises GatewayError for a wrong config."""
    config = load_config(
        paths.gateway_config,
        environment(settings, environ),
        relay=settings.gateway_relay == "on",
    )
    keyring = Keyring(settings.litellm_master_key, KeyFile(paths.keys_file))
    guard = Guard(
        allowed_hosts=host_set(settings.allowed_hosts),
        allowed_origins=origin_set(settings.allowed_origins),
        any_address=not settings.on_loopback,
        require_key=settings.require_key,
        key_check=keyring.check,
    )
    return Gateway(
        config,
        guard,
        max_body=settings.max_request_mib * 1024 * 1024,
        keyring=keyring,
        log=AccessLog(_to_stderr),
        counts=counts,
        store=_store(settings, paths),
        litellm=LiteLlm(
            config,
            environment(settings, environ),
            silence_timeout_s=config.request_timeout_s,
            log_file=paths.logs / "litellm.log",
        ),
    )


def _store(settings: Settings, paths: Paths) -> Store | None:
    if settings.store_responses == "off":
        return None
    return Store(lambda: Database(paths.responses_file))


def _to_stderr(text: bytes) -> None:
    sys.stderr.buffer.write(text)
    sys.stderr.buffer.flush()


async def main(stopping: asyncio.Event) -> int:
    """Serve until SIGTERM."""
    settings = load_settings(find_paths())
    more = worker_count(settings.gateway_workers, os.environ)
    counts = shared_counts(more, os.environ)
    gateway = build(settings, find_paths(), os.environ, counts)
    address = settings.listen_address or settings.bind_address
    listeners = inherited(os.environ) or listen(address, settings.api_gateway_port)
    server = Server(gateway, listeners)
    sys.stderr.write(f"gateway: listening on {', '.join(listeners.urls)}\n")
    workers = Workers(listeners, more, os.environ, counts) if more and counts else None
    beginning = asyncio.create_task(gateway.begin())
    try:
        await server.serve_until(stopping)
    finally:
        if workers is not None:
            await workers.stop()
        await gateway.close()
        await asyncio.gather(beginning, return_exceptions=True)
    return 0


if __name__ == "__main__":
    log_to_stderr()
    try:
        code = run(main)
    except SuiteError as exc:
        sys.stderr.write(f"error: {exc.message}\n{exc.hint}\n")
        code = exc.exit_code
    sys.exit(code)
