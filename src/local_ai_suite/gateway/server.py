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
from typing import TYPE_CHECKING

from local_ai_suite.errors import GatewayError, SuiteError
from local_ai_suite.gateway.access_log import AccessLog
from local_ai_suite.gateway.answers import plain_answer
from local_ai_suite.gateway.call import Call
from local_ai_suite.gateway.config import GatewayConfig, load_config
from local_ai_suite.gateway.endpoints import ENDPOINTS, Endpoint, canonical, is_litellms
from local_ai_suite.gateway.keys import KeyFile, Keyring
from local_ai_suite.gateway.known_models import KnownModels
from local_ai_suite.gateway.lanes import Lanes
from local_ai_suite.gateway.limits import Limits, SharedCounts
from local_ai_suite.gateway.litellm_process import LiteLlm
from local_ai_suite.gateway.mends import Target
from local_ai_suite.gateway.metrics import Metrics
from local_ai_suite.gateway.ollama import public_name
from local_ai_suite.gateway.pages import Pages
from local_ai_suite.gateway.relay import Relay, read_request, unknown_model
from local_ai_suite.gateway.workers import Workers, inherited, shared_counts, worker_count
from local_ai_suite.log import log_to_stderr
from local_ai_suite.paths import find_paths
from local_ai_suite.settings import load_settings
from local_ai_suite.wire.asgi import ClientGone, answer, header, read_body
from local_ai_suite.wire.envelope import api_of, error_body
from local_ai_suite.wire.guard import Admitted, Guard, Refusal, cors_headers, host_set
from local_ai_suite.wire.serve import Server, listen, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_ai_suite.paths import Paths
    from local_ai_suite.settings import Settings
    from local_ai_suite.wire.asgi import Receive, Scope, Send

logger = logging.getLogger(__name__)

_LONGEST_ID = 128
# Who starts the services (the supervisor, Docker's health check) asks these, and has no key.
_KEYLESS = frozenset({"/health", "/health/liveliness", "/health/readiness"})


class Gateway:
    """The ASGI application. ``environ`` resolves the config's references."""

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
        hold_s: float = 10.0,
        heartbeat_s: float = 10.0,
    ) -> None:
        self.config = config
        self.guard = guard
        self.keyring = keyring
        self._log = log
        self._max_body = max_body
        self.litellm = litellm
        self._relay_off = all(route.kind == "litellm" for route in config.every_route())
        local = next((r for r in config.every_route() if r.api_base is not None), None)
        self.models = KnownModels(
            lambda: self.relay.upstream(local.api_base or "") if local else None,
            local.api_key if local else None,
        )
        self.lanes = Lanes(self.models.slots)
        self.metrics = Metrics()
        self._limits = Limits(shared=counts)
        self._pages = Pages(
            config,
            self.models,
            metrics_text=lambda: self.metrics.text(self.lanes.counts()),
            is_ready=self._is_ready,
        )
        self.relay = Relay(
            self.lanes,
            silence_timeout_s=config.request_timeout_s,
            hold_s=hold_s,
            heartbeat_s=heartbeat_s,
        )

    async def begin(self) -> None:
        """Ask for the engine's models; start LiteLLM when everything is its, to be ready."""
        await self.models.refresh()
        if self._relay_off and self.litellm is not None:
            try:
                await self.litellm.upstream()
            except SuiteError as exc:
                logger.warning("%s %s", exc.message, exc.hint)

    async def close(self) -> None:
        self.relay.close()
        if self._log is not None:
            self._log.flush()
        if self.litellm is not None:
            await self.litellm.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        api = api_of(path)
        request_id = _request_id(header(scope, b"x-request-id"))
        call = Call(
            send=send,
            api=api,
            method=scope["method"],
            path=path,
            query=scope["query_string"].decode("ascii"),
            request_id=request_id,
            headers=[(b"x-request-id", request_id.encode("ascii"))],
        )
        self.metrics.in_flight += 1
        try:
            await self._admit(call, scope, receive)
        except asyncio.CancelledError:
            call.hung_up = True
            raise
        except ClientGone:
            call.hung_up = True
        except SuiteError as exc:
            if (wait := exc.details.get("retry_after")) is not None:
                call.headers.append((b"retry-after", b"%d" % wait))
            message = f"{exc.message} {exc.hint}".strip()
            await self._refuse(call, exc.http_status, message, exc.code)
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

    async def _admit(self, call: Call, scope: Scope, receive: Receive) -> None:
        verdict = self.guard.check(scope["headers"])
        if isinstance(verdict, Refusal) and verdict.status == 401 and call.path in _KEYLESS:
            verdict = Admitted(key=None, origin=None)
        if isinstance(verdict, Refusal):
            if verdict.status == 401 and await self._litellm_judges(call, scope, receive):
                return
            await self._refuse(call, verdict.status, verdict.message, verdict.code)
            return
        if verdict.origin is not None:
            call.headers += cors_headers(verdict.origin)
        call.key = verdict.key
        await self._dispatch_within_limits(call, scope, receive)

    async def _litellm_judges(self, call: Call, scope: Scope, receive: Receive) -> bool:
        """With a database, a key that we don't know may be one that LiteLLM gave out."""
        if not self.config.litellm_keeps_keys or call.path == "/metrics":
            return False
        body = await read_body(scope, receive, limit=self._max_body)
        raw = canonical(scope["raw_path"].decode("ascii"))
        await self._to_litellm(call, raw, scope["headers"], body)
        return True

    async def _dispatch_within_limits(self, call: Call, scope: Scope, receive: Receive) -> None:
        key = self.keyring.named(call.key) if call.key and self.keyring else None
        entered = False
        try:
            if key is not None:
                self._limits.enter(key)
                entered = True
            await self._dispatch(call, scope, receive)
        finally:
            if key is not None and entered:
                self._limits.leave(key)

    async def _dispatch(self, call: Call, scope: Scope, receive: Receive) -> None:
        endpoint = ENDPOINTS.get(call.path)
        if endpoint is None:
            path = canonical(call.path)
            endpoint = ENDPOINTS.get(path)
            if endpoint is None:
                await self._other(call, scope, receive, path)
                return
        if call.method == "OPTIONS":
            await self._preflight(call, scope)
        elif call.method != "POST":
            call.headers.append((b"allow", b"POST, OPTIONS"))
            await self._refuse(call, 405, f"{call.path} takes POST.", "method_not_allowed")
        else:
            body = await read_body(scope, receive, limit=self._max_body)
            await self._model_call(call, endpoint, scope["headers"], body)

    async def _model_call(
        self, call: Call, endpoint: Endpoint, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> None:
        call.route = endpoint.route
        name = read_request(body).get("model")
        if call.api == "ollama" and isinstance(name, str):
            name = public_name(name)
        if name is None and endpoint.model_optional:
            name = self._default_model(code=endpoint.prefers_code)
        if not isinstance(name, str) or not name:
            message = "you must provide a model parameter"
            await self._refuse(call, 400, message, "missing_model", param="model")
            return
        route = self.config.find(name)
        if route is None:
            status, text = unknown_model(call, name, self.config.routes)
            await plain_answer(call.send, status, text, call)
            return
        call.model, call.kind = route.public, route.kind
        if route.kind == "litellm":
            await self._to_litellm(call, endpoint.route, headers, body, name)
            return
        engine = self.models.engine_name(name if route.engine == "*" else route.engine)
        call.context_limit = self.models.context(engine)
        target = Target(public=name, engine=engine)
        await self.relay.serve(call, route, target, headers, body, endpoint.lane)

    async def _to_litellm(
        self, call: Call, path: str, headers: list[tuple[bytes, bytes]], body: bytes,
        model: str | None = None,
    ) -> None:  # fmt: skip
        if self.litellm is None:
            raise GatewayError("This gateway was started without LiteLLM.")
        call.kind = "litellm"
        target = f"{path}?{call.query}" if call.query else path
        await self.relay.serve_litellm(call, self.litellm, target, headers, body, model)

    def _default_model(self, *, code: bool) -> str | None:
        local = [name for name, route in self.config.routes.items() if route.kind == "local"]
        if code and "local-code" in local:
            return "local-code"
        return local[0] if local else None

    async def _other(self, call: Call, scope: Scope, receive: Receive, path: str) -> None:
        if call.method == "OPTIONS":
            await self._preflight(call, scope)
            return
        page = await self._pages.get(path) if call.method in {"GET", "HEAD"} else None
        if path == "/api/show" and call.method == "POST":
            asked = read_request(await read_body(scope, receive, limit=self._max_body))
            page = await self._pages.show(str(asked.get("model") or asked.get("name") or ""))
        if page is None:
            if self._is_litellms(path):
                body = await read_body(scope, receive, limit=self._max_body)
                raw = canonical(scope["raw_path"].decode("ascii"))
                await self._to_litellm(call, raw, scope["headers"], body)
                return
            await self._refuse(call, 404, f"There is no {call.path} here.", "not_found")
            return
        call.status = page.status
        headers = [(b"cache-control", b"no-store"), *call.headers]
        await answer(
            call.send, page.status, page.body, headers=headers, content_type=page.content_type
        )

    def _is_ready(self) -> bool:
        return not self._relay_off or (self.litellm is not None and self.litellm.started)

    def _is_litellms(self, path: str) -> bool:
        """Whether a path that is not relayed (images, files, audio) goes to LiteLLM.

        Its pages for keys and budgets are reached only when it keeps them (a database is set).
        """
        if self.litellm is None or all(r.kind == "local" for r in self.config.every_route()):
            return False
        return is_litellms(path) or self.config.litellm_keeps_keys

    async def _preflight(self, call: Call, scope: Scope) -> None:
        origin = header(scope, b"origin")
        asked = header(scope, b"access-control-request-headers") or b""
        own = [pair for pair in call.headers if not pair[0].startswith((b"access-", b"vary"))]
        call.headers = own + cors_headers(origin, asked)
        call.status = 204
        await call.send({"type": "http.response.start", "status": 204, "headers": call.headers})
        await call.send({"type": "http.response.body", "body": b""})

    async def _refuse(
        self, call: Call, status: int, message: str, code: str, param: str | None = None
    ) -> None:
        call.error = code
        body = error_body(call.api, status, message, code=code, param=param)
        await plain_answer(call.send, status, body, call)


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
        litellm=LiteLlm(
            config,
            environment(settings, environ),
            silence_timeout_s=config.request_timeout_s,
            log_file=paths.logs / "litellm.log",
        ),
    )


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
