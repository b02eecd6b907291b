"""What a protocol is made of; the package's docstring says how the pieces come together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from local_ai_suite.wire.envelope import OPENAI, Envelope

from .body import Request, dumps, loads
from .events import Chained, Stream
from .rename import RenamedStream, rename_answer, rename_request

if TYPE_CHECKING:
    from local_ai_suite.templates.conversation import Message
    from local_ai_suite.wire.routes import Route

    from .gather import Form
    from .rename import Target

logger = logging.getLogger(__name__)

EVENT_STREAM = b"text/event-stream"
# What a translation raises over JSON that has not the shape it expects.
MISFIT = (AttributeError, LookupError, RecursionError, TypeError, ValueError)

Translation = Callable[["Asked"], None]
"""Looks at ``asked.request``; when it has something to do, changes what ``asked.edit()`` gives,
adds what the answer needs (``asked.translate``), or sets ``asked.reply``. Raises Refused."""


class Conversation(Protocol):
    """How a protocol's requests hold a conversation."""

    def read(self, request: dict[str, Any]) -> list[Message]:
        """As chat messages, in the order in which llama.cpp gives them to the template. What is
        shared with ``request`` is not changed. Raises one of MISFIT for another shape."""
        ...

    def write(self, request: dict[str, Any], messages: list[Message]) -> None:
        """Put ``messages`` into ``request`` instead."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One POST route of a protocol, with all that is its own.

    ``translations`` run in their order; ``form`` puts a whole answer together from the engine's
    stream (``None``: the path generates nothing, or a stream would not carry its answer);
    ``conversation`` says how its requests hold one that a chat template will render;
    ``remembers``: its answers may be kept, and gone on from;
    ``stream_type`` is the content type of a translated stream. What LiteLLM does not speak
    (``spoken_by_litellm``) is translated before it gets it.
    """

    route: Route
    translations: tuple[Translation, ...] = ()
    form: Callable[[], Form] | None = None
    conversation: Conversation | None = None
    envelope: Envelope = OPENAI
    stream_type: bytes = EVENT_STREAM
    spoken_by_litellm: bool = True
    remembers: bool = False


class Asked:
    """One request on its way to the engine, and how its answer comes back.

    Where nothing acts, the client's bytes go to the engine and the engine's to the client.
    """

    __slots__ = (
        "_answers", "_changed", "_raw", "_says_name", "_streams",
        "conversation", "endpoint", "form", "not_enforced", "path", "remembered", "reply",
        "request", "target",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, request: Request, target: Target) -> None:
        self.endpoint = endpoint
        self.target = target
        self.path = endpoint.route.path
        self.form = endpoint.form
        self.conversation = endpoint.conversation
        self.request = request.parsed
        self.remembered = request.remembered
        self.reply: bytes | None = None
        self.not_enforced: list[str] = []
        """What the request asks for and the answer will not be held to; told with the answer."""
        self._raw: Request = request
        self._changed = False
        self._says_name = False
        self._answers: list[Callable[[Any], Any]] = []
        self._streams: list[Callable[[], Stream]] = []

    # For translations:

    def edit(self) -> dict[str, Any]:
        """The request's object, to be changed; it is serialized once, at the end."""
        if not self._changed:
            self._changed = True
            self.request = self._raw.exact()
        return self.request

    def send(self, path: str, request: dict[str, Any]) -> None:
        """Ask the engine's ``path`` for ``request`` instead."""
        self.path, self.request, self._changed = path, request, True

    def translate(
        self, answer: Callable[[Any], Any], stream: Callable[[], Stream], *, says_name: bool = False
    ) -> None:
        """Send a whole answer through ``answer`` (object to object), a stream through ``stream()``.

        Translations that come later in the request are nearer to the engine, so their turn with
        the answer is first. ``says_name``: the model's public name is in what this one makes.
        """
        self._answers.insert(0, answer)
        self._streams.insert(0, stream)
        self._says_name = self._says_name or says_name

    # For the exchange:

    @property
    def streams(self) -> bool:
        """Whether the engine is asked for a stream."""
        return self.request.get("stream") is True

    @property
    def translated(self) -> bool:
        """Whether the answer is translated."""
        return bool(self._answers)

    def body(self) -> bytes:
        """What the engine gets."""
        if self._changed:
            return dumps({**self.request, "model": self.target.engine})
        return rename_request(self._raw.raw, self.target) if self.target.renamed else self._raw.raw

    def answer(self, body: bytes) -> bytes:
        """A whole answer of the engine for the client. Raises one of MISFIT."""
        if self._answers:
            return self.finished(loads(body))
        return rename_answer(body, self.target) if self._renames else body

    def finished(self, said: Any) -> bytes:
        """The same for one that is an object already."""
        if self._renames and isinstance(said, dict) and "model" in said:
            said["model"] = self.target.public
        for answer in self._answers:
            said = answer(said)
        return dumps(said)

    def stream(self) -> Stream | None:
        """The translation of a new stream; ``None`` when it passes as it is."""
        found: Stream | None = RenamedStream(self.target) if self._renames else None
        for make in self._streams:
            found = Chained(found, make()) if found is not None else make()
        return found

    @property
    def _renames(self) -> bool:
        return self.target.renamed and not self._says_name


def ask(
    endpoints: Mapping[str, Endpoint], endpoint: Endpoint, request: Request, target: Target
) -> Asked:
    """Translate a request: by its own protocol, then by the one it was translated to.

    A translation that cannot read the request's shape leaves it as it came: the engine says what
    is wrong with it. Raises Refused.
    """
    asked = Asked(endpoint, request, target)
    try:
        _translate(asked, endpoint)
        if asked.path != endpoint.route.path and (inner := endpoints.get(asked.path)) is not None:
            asked.form, asked.conversation = inner.form, inner.conversation
            _translate(asked, inner)
    except MISFIT:
        logger.info("a request to %s cannot be read", endpoint.route.path, exc_info=True)
        # Read anew: what was changed halfway is not what the client sent.
        return Asked(endpoint, Request.read(request.raw), target)
    return asked


def _translate(asked: Asked, endpoint: Endpoint) -> None:
    for translation in endpoint.translations:
        translation(asked)
        if asked.reply is not None:
            return
