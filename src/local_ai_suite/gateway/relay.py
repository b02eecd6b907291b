"""Local routes: the request's bytes to the engine, the answer's bytes back.

A request that needs no mend is parsed as far as finding its model, and passed on as it is; one for
a whole answer goes out as one for a stream (``gather.py``).
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import orjson

from local_ai_suite.errors import SuiteError
from local_ai_suite.gateway import mends
from local_ai_suite.gateway.answers import MISFIT, Heart, fail_late, pass_on, plain_answer
from local_ai_suite.gateway.gather import Gather, Unfaithful, gather
from local_ai_suite.gateway.mends import Reply, Target
from local_ai_suite.gateway.mends.registry import asks_for_stream
from local_ai_suite.wire.envelope import error_body
from local_ai_suite.wire.guard import KEY_HEADERS
from local_ai_suite.wire.upstream import HOP_BY_HOP, Upstream, UpstreamUnreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from local_ai_suite.gateway.call import Call
    from local_ai_suite.gateway.config import Route
    from local_ai_suite.gateway.lanes import Lanes
    from local_ai_suite.gateway.litellm_process import LiteLlm
    from local_ai_suite.gateway.mends import Mend
    from local_ai_suite.wire.asgi import Headers

logger = logging.getLogger(__name__)

# Of the client's headers these stay here: what belongs to the connection, what the guard has
# checked, and what names the client's own key.
_KEPT_BACK = HOP_BY_HOP | {
    b"host",
    b"content-length",
    b"expect",
    b"origin",
    b"referer",
    b"cookie",
    b"authorization",
    b"x-api-key",
    b"x-litellm-api-key",
    b"api-key",
    b"accept-encoding",
    b"x-request-id",
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
}


# A service that died is started again within a few seconds.
_AWAY_RETRY_S = 3


class BadRequest(SuiteError):
    """The request cannot be understood."""

    code = "invalid_request"
    http_status = 400


class EngineAway(SuiteError):
    """Nobody listens at the engine's address."""

    code = "engine_unreachable"
    http_status = 503


def read_request(body: bytes) -> dict[str, object]:
    """The body as a JSON object. Raises BadRequest."""
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise BadRequest(f"The request's body is not valid JSON: {exc}.") from exc
    if not isinstance(request, dict):
        raise BadRequest("The request's body must be a JSON object.")
    return request


class Relay:
    """Passes calls on to the local engine."""

    def __init__(
        self, lanes: Lanes, *, silence_timeout_s: float, hold_s: float, heartbeat_s: float
    ) -> None:
        self._lanes = lanes
        self._silence_timeout_s = silence_timeout_s
        self._hold_s = hold_s
        self._heartbeat_s = heartbeat_s
        self._upstreams: dict[str, tuple[Upstream, str]] = {}

    def upstream(self, api_base: str) -> tuple[Upstream, str]:
        """The client of an ``api_base``, and the path before the engine's routes (mostly "")."""
        found = self._upstreams.get(api_base)
        if found is None:
            upstream = Upstream.from_url(api_base, silence_timeout_s=self._silence_timeout_s)
            path = "/" + api_base.partition("://")[2].partition("/")[2]
            prefix = path.rstrip("/").removesuffix("/v1")
            found = self._upstreams[api_base] = (upstream, prefix.rstrip("/"))
        return found

    def close(self) -> None:
        for upstream, _ in self._upstreams.values():
            upstream.close()

    async def serve(
        self, call: Call, route: Route, model: Target, headers: Headers, body: bytes, lane: str
    ) -> None:
        """Answer ``call``. Raises SuiteError while nothing was sent yet."""
        plan = _plan(call, body, model)
        if isinstance(plan, Reply):
            await plain_answer(call.send, plan.status, plan.body, call)
            return
        target, body, streams, stream_type = _sent(call.route, body, plan)
        heart = self._heart(call, stream_type) if streams else None
        asked = None if streams else gather(target, body)
        upstream, prefix = self.upstream(route.api_base or "")
        sent = forwarded(call, route.api_key, headers)

        async def exchange() -> None:
            ticket = await self._lanes.enter(model.engine, lane)
            try:
                call.admitted = time.perf_counter()
                await self._exchange(
                    call, upstream, prefix + target, sent, body, heart, plan,
                    mend_errors=True, asked=asked,
                )  # fmt: skip
            except UpstreamUnreachable as exc:
                raise EngineAway(
                    f"The inference service does not answer: {exc.message}",
                    hint="`lais status` tells what runs; a service that died is started again.",
                    retry_after=_AWAY_RETRY_S,
                ) from exc
            finally:
                ticket.leave()

        await self._with_heart(call, heart, exchange)

    async def serve_litellm(
        self, call: Call, litellm: LiteLlm, target: str, headers: Headers, body: bytes,
        model: str | None = None,
    ) -> None:  # fmt: skip
        """Answer ``call`` through LiteLLM, started if need be. Raises as :meth:`serve` does.

        Its answers are its own; only Ollama's protocol, which it does not speak, is mended.
        """
        plan: Mend | None = None
        if model is not None and call.api == "ollama":
            made = _plan(call, body, Target(public=model, engine=model))
            if isinstance(made, Reply):
                await plain_answer(call.send, made.status, made.body, call)
                return
            plan = made
        target, body, streams, stream_type = _sent(target, body, plan)
        heart = self._heart(call, stream_type) if streams else None
        if litellm.keeps_keys:
            sent = [*forwarded(call, None, headers), *_shown_keys(headers)]
        else:
            sent = forwarded(call, litellm.key, headers)

        async def exchange() -> None:
            upstream = await litellm.upstream()
            call.admitted = time.perf_counter()
            await self._exchange(
                call, upstream, target, sent, body, heart, plan, mend_errors=plan is not None
            )

        await self._with_heart(call, heart, exchange)

    def _heart(self, call: Call, stream_type: str) -> Heart:
        return Heart(call, stream_type.encode(), self._hold_s, self._heartbeat_s)

    async def _with_heart(
        self, call: Call, heart: Heart | None, exchange: Callable[[], Awaitable[None]]
    ) -> None:
        if heart is None:
            await exchange()
            return
        heart.arm()
        try:
            await exchange()
        except SuiteError as exc:
            if not heart.begun:
                raise
            heart.disarm()
            await fail_late(call, exc)
        finally:
            heart.disarm()

    async def _exchange(
        self, call: Call, upstream: Upstream, target: str, headers: Headers, body: bytes,
        heart: Heart | None, plan: Mend | None, *, mend_errors: bool, asked: Gather | None = None,
    ) -> None:  # fmt: skip
        if asked is not None:
            try:
                await self._one_exchange(
                    call, upstream, target, headers, asked.body, heart, plan,
                    mend_errors=mend_errors, asked=asked,
                )  # fmt: skip
            except Unfaithful as exc:
                logger.info("request %s is asked again, whole: %s", call.request_id, exc)
            else:
                return
        await self._one_exchange(
            call, upstream, target, headers, body, heart, plan, mend_errors=mend_errors
        )

    async def _one_exchange(
        self, call: Call, upstream: Upstream, target: str, headers: Headers, body: bytes,
        heart: Heart | None, plan: Mend | None, *, mend_errors: bool, asked: Gather | None = None,
    ) -> None:  # fmt: skip
        exchange = await upstream.start(call.method, target, headers, body)
        try:
            call.connected = time.perf_counter()
            await exchange.head()
            call.first_byte = time.perf_counter()
            await pass_on(call, exchange, heart, plan, mend_errors=mend_errors, gather=asked)
        finally:
            exchange.close()


def _plan(call: Call, body: bytes, model: Target) -> Mend | Reply | None:
    try:
        return mends.plan(call.route, body, model)
    except MISFIT:
        # A mend that cannot read the request: the engine says what is wrong with it.
        logger.info("no mend could read request %s", call.request_id, exc_info=True)
        return None


def _sent(target: str, body: bytes, plan: Mend | None) -> tuple[str, bytes, bool, str]:
    """Path, body, whether a stream is asked for, and the content type of what comes out."""
    if plan is None:
        return target, body, asks_for_stream(body), mends.EVENT_STREAM
    return plan.path, plan.body, plan.streams, plan.stream_type


def _shown_keys(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The client's own key, for a LiteLLM that keeps the keys."""
    return [pair for pair in headers if pair[0] in KEY_HEADERS]


def forwarded(call: Call, api_key: str | None, headers: Headers) -> list[tuple[bytes, bytes]]:
    """The client's headers for the upstream, with the upstream's own key."""
    sent = [pair for pair in headers if pair[0] not in _KEPT_BACK]
    sent.append((b"x-request-id", call.request_id.encode("ascii")))
    if api_key:
        sent.append((b"authorization", b"Bearer " + api_key.encode()))
    return sent


def unknown_model(call: Call, name: str, known: Mapping[str, object]) -> tuple[int, bytes]:
    """A 404 in the envelope of the API that was called."""
    names = ", ".join(sorted(known))
    message = f"The model {name!r} does not exist. Models here: {names}."
    return 404, error_body(call.api, 404, message, code="model_not_found", param="model")
