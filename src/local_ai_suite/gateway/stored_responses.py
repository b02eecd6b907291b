"""Responses that are kept: going on from one, and those that are asked for by their id.

The answer to ``/v1/responses`` is kept unless the request says ``store: false``. What goes out is
looked at on its way, and is in the store before its client hears that it is complete. What could
not be kept is told: ``store`` in the response is false then, and ``x-lais-not-stored`` says why
where the headers have not gone out yet. An answer never waits for more than the store's own bound.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from local_ai_suite.errors import SuiteError
from local_ai_suite.gateway.pages import Page
from local_ai_suite.gateway.protocols.body import Remembered, Request, dumps, loads
from local_ai_suite.gateway.protocols.errors import Refused
from local_ai_suite.gateway.protocols.responses.kept import input_items, referenced
from local_ai_suite.gateway.store import Missing, Record
from local_ai_suite.wire.envelope import OPENAI, error_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from local_ai_suite.gateway.call import Call
    from local_ai_suite.gateway.store import Database, Store
    from local_ai_suite.wire.asgi import Message, Send

    Keep = Callable[[dict[str, Any]], Awaitable[str | None]]
    Items = list[dict[str, Any]]

logger = logging.getLogger(__name__)

SETTING = "STORE_RESPONSES"
NOT_STORED = b"x-lais-not-stored"
_PATH = re.compile(r"(?:/v1)?/responses/([^/]+)(/input_items|/cancel)?")
# ResponseStream's last event; inside a JSON string a line break is escaped.
_LAST = re.compile(rb"(?:\A|\n\n)event: response\.(?:completed|incomplete)\ndata: ([^\n]+)\n\n")
_LISTED, _MOST_LISTED = 20, 100
_MOST_TOLD = 300


class StoredResponses:
    """``store`` is ``None`` where nothing is kept."""

    def __init__(self, store: Store | None) -> None:
        self._store = store

    async def recall(self, call: Call, owner: str, request: Request, *, answers: bool) -> Request:
        """``request`` with all that was said before it; where the engine ``answers`` it, its
        response will be kept for ``owner``.

        Raises Refused where ``previous_response_id`` or an ``item_reference`` leads nowhere, and
        StoreError where it cannot be looked for.
        """
        said = request.parsed
        previous = said.get("previous_response_id") or None
        if previous is not None and not isinstance(previous, str):
            raise Refused("previous_response_id must be a text.", "previous_response_id")
        if self._store is None:
            if previous is not None:
                raise Refused(
                    "'previous_response_id' is not supported: nothing is stored here "
                    f"({SETTING}=off in .env). Send the whole conversation in 'input'.",
                    "previous_response_id",
                    "unsupported_parameter",
                )
            return request
        before = await self._before(self._store, owner, previous) if previous else []
        refers = isinstance(said.get("input"), list) and any(map(referenced, said["input"]))
        if previous or refers:
            said = {**request.exact()}
            said.pop("previous_response_id", None)
            if refers:
                said["input"] = await self._resolved(self._store, owner, said["input"], before)
        own = input_items(said)
        if before and isinstance(said.get("input"), str | list):
            said["input"] = before + own
        wanted = answers and said.get("store") is not False
        keeps = wanted and await self._can_keep(self._store, call)
        if keeps:
            store = self._store

            async def keep(response: dict[str, Any]) -> str | None:
                return await _keep(store, owner, previous, own, response)

            call.send = Recorder(call.send, keep)
        remembered = Remembered(previous, keeps)
        changed = request if said is request.parsed else Request(dumps(said), said)
        return Request(changed.raw, changed.parsed, remembered)

    async def page(self, method: str, path: str, query: str, owner: str) -> Page | None:
        """The answer to a request about a stored response; ``None`` for any other path.

        Raises Missing and StoreError.
        """
        found = _PATH.fullmatch(path)
        if found is None or (method == "POST") is not (found[2] == "/cancel"):
            return None
        if method not in ("GET", "HEAD", "DELETE", "POST") or (found[2] and method == "DELETE"):
            return None
        record, what = found[1], found[2]
        if self._store is None:
            message = f"{record!r} is not stored here: {SETTING} is off in .env."
            return _page(404, error=error_for(404, message, code="not_stored"))
        if method == "DELETE":
            await self._store.do(lambda database: database.delete(owner, record))
            return _page(200, {"id": record, "object": "response", "deleted": True})
        if what == "/cancel":
            await self._store.do(lambda database: database.get(owner, record))
            message = f"{record!r} is complete: only a response in the background can be cancelled."
            return _page(400, error=error_for(400, message, param="response_id"))
        asked = {name: values[-1] for name, values in parse_qs(query).items()}
        if what == "/input_items":
            return _listed(await self._said(self._store, owner, record), asked)
        if asked.get("stream") == "true":
            message = "Only a response in the background can be streamed again."
            return _page(400, error=error_for(400, message, param="stream"))
        return Page(200, (await self._store.do(lambda db: db.get(owner, record))).answer)

    async def _before(self, store: Store, owner: str, last: str) -> Items:
        try:
            thread = await store.do(lambda database: database.thread(owner, last))
        except Missing as exc:
            raise Refused(
                f"The previous response {exc.record!r} is not stored here (any more).",
                "previous_response_id",
                "previous_response_not_found",
            ) from exc
        return [item for record in thread for item in _items_of(record)]

    async def _said(self, store: Store, owner: str, last: str) -> Items:
        thread = await store.do(lambda database: database.thread(owner, last))
        before = [item for record in thread[:-1] for item in _items_of(record)]
        return before + list(loads(thread[-1].items))

    async def _resolved(self, store: Store, owner: str, said: list[Any], before: Items) -> Items:
        """``said`` with the items that its references stand for; what the thread has before it
        already is left out."""
        had = {item.get("id") for item in before}
        made: Items = []
        for index, item in enumerate(said):
            wanted = referenced(item)
            if wanted is None:
                made.append(item)
            elif wanted not in had:
                made.append(await _resolve(store, owner, wanted, f"input[{index}]"))
        return made

    async def _can_keep(self, store: Store, call: Call) -> bool:
        try:
            await store.do(lambda database: database.check())
        except SuiteError as exc:
            logger.warning("a response is not kept: %s", exc.message)
            call.headers.append((NOT_STORED, _told(exc.message)))
            return False
        return True


class Recorder:
    """``send`` for a response that is kept: sees it, keeps it, and only then lets its end out."""

    def __init__(self, send: Send, keep: Keep) -> None:
        self._send = send
        self._keep = keep
        self._start: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = dict(message["headers"])
            if message["status"] == 200 and _is_json(headers.get(b"content-type", b"")):
                self._start = message  # until its body is kept
                return
        elif self._start is not None:
            start, self._start = self._start, None
            await self._whole(start, message)
            return
        elif found := _LAST.search(body := message.get("body", b"")):
            event = loads(found[1])
            if await self._keep(event["response"]) is not None:
                event["response"]["store"] = False
                body = body[: found.start(1)] + dumps(event) + body[found.end(1) :]
                message = {**message, "body": body}
        await self._send(message)

    async def _whole(self, start: Message, message: Message) -> None:
        response = loads(message["body"])
        why = await self._keep(response)
        if why is not None:
            body = dumps({**response, "store": False})
            headers = [pair for pair in start["headers"] if pair[0] != b"content-length"]
            headers += [(b"content-length", b"%d" % len(body)), (NOT_STORED, _told(why))]
            start, message = {**start, "headers": headers}, {**message, "body": body}
        await self._send(start)
        await self._send(message)


async def _keep(
    store: Store, owner: str, previous: str | None, own: Items, response: dict[str, Any]
) -> str | None:
    """Keep a response; why it could not be kept."""
    parts = [item["id"] for item in (*own, *response["output"])]
    record = Record(response["id"], previous, dumps(own), dumps(response), parts)
    try:
        await store.do(lambda database: database.put(owner, record))
    except SuiteError as exc:
        logger.warning("response %s is not kept: %s", response["id"], exc.message)
        return exc.message
    return None


async def _resolve(store: Store, owner: str, wanted: str, where: str) -> dict[str, Any]:
    def look(database: Database) -> Record:
        return database.holder(owner, wanted)

    try:
        items = _items_of(await store.do(look))
    except Missing as exc:
        raise Refused(f"{where}: the item {wanted!r} is not stored here.", where) from exc
    return next(item for item in items if item.get("id") == wanted)


def _items_of(record: Record) -> Items:
    return [*loads(record.items), *loads(record.answer)["output"]]


def _listed(items: Items, asked: dict[str, str]) -> Page:
    """One page of a list, newest first unless ``order=asc``; ``after`` is the last one seen."""
    if asked.get("order") != "asc":
        items = items[::-1]
    limit = asked.get("limit", str(_LISTED))
    if not limit.isdecimal() or not 1 <= int(limit) <= _MOST_LISTED:
        message = f"limit must be a number from 1 to {_MOST_LISTED}."
        return _page(400, error=error_for(400, message, param="limit"))
    if (after := asked.get("after")) is not None:
        ids = [item["id"] for item in items]
        if after not in ids:
            message = f"There is no item {after!r} in this list."
            return _page(400, error=error_for(400, message, param="after"))
        items = items[ids.index(after) + 1 :]
    shown = items[: int(limit)]
    return _page(
        200,
        {
            "object": "list",
            "data": shown,
            "first_id": shown[0]["id"] if shown else None,
            "last_id": shown[-1]["id"] if shown else None,
            "has_more": len(items) > len(shown),
        },
    )


def _page(status: int, value: Any = None, *, error: dict[str, Any] | None = None) -> Page:
    return Page(status, dumps(value) if error is None else OPENAI.body(status, error))


def _is_json(content_type: bytes) -> bool:
    return content_type.startswith(b"application/json")


def _told(why: str) -> bytes:
    text = why.encode("ascii", "backslashreplace")[:_MOST_TOLD]
    return bytes(byte if 0x20 <= byte < 0x7F else 0x3F for byte in text)
