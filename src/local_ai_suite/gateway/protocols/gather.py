"""A whole answer, put together from the engine's stream, so that a hang-up frees the slot at once.

llama.cpp looks once a second whether the client of an answer that does not stream is still there,
and each result of any other request puts that off (``recv_with_timeout`` waits anew after each,
tools/server/server-queue.cpp): beside a busy stream such a hang-up is never noticed. Of a stream it
notices the hang-up at the next token. So the gateway asks for a stream where the client asked for
the whole, and puts together what llama.cpp would have answered, member for member
(``to_json_oaicompat_chat`` and its neighbours in tools/server/server-task.cpp).

What a stream does not carry is asked for as it came: see :func:`carries` and :class:`AskWhole`.
One difference remains: an answer that was cut at its limit of tokens in the middle of a character
ends before that token, as every stream of llama.cpp does, instead of with U+FFFD.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import orjson

from .events import EventReader

if TYPE_CHECKING:
    from collections.abc import Mapping

# Last in the body: of two members with one name, llama.cpp and the pool take the second.
# ``return_progress`` gives an event per batch of the prompt: a hang-up is noticed there too.
_ASKED = b'"stream":true,"stream_options":{"include_usage":true},"return_progress":true}'
_NOT_IN_A_STREAM = (
    "logprobs",  # a stream cannot take back those of a stop text, and chat's loses held ones
    "n_probs",
    "return_tokens",  # the tokens of a character that comes in parts are lost
    "n_indent",  # it cuts a line that a stream has sent already
    "reasoning_format",  # "deepseek-legacy" streams thoughts in another place
    "stream_options",
    "return_progress",
)
_STOPS = ("stop", "stop_sequences")
_LIMITS = ("max_tokens", "max_completion_tokens", "n_predict")


class AskWhole(Exception):
    """The stream does not hold what the whole answer would: ask for that after all."""


class EngineSaid(Exception):
    """An error in mid-stream: ``status``, and ``body`` as llama.cpp answers it unstreamed."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class Form(Protocol):
    """One API's stream on its way to be a whole answer.

    Of an answer that ends at its limit, a stream keeps back what may be the beginning of a stop
    text. ``hides_what_it_holds``: nothing in this form's stream shows that.
    """

    hides_what_it_holds: ClassVar[bool]

    def event(self, said: dict[str, Any]) -> None:
        """The next event. Raises AskWhole, or one of MISFIT."""
        ...

    def whole(self) -> Any:
        """Raises AskWhole, or LookupError when the stream ended early."""
        ...


class Gathered:
    """Feed it the stream as it comes; ``whole`` is the answer's object."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._reader = EventReader()

    def feed(self, piece: bytes) -> None:
        """Raises EngineSaid at an error event, and what a misshaped event raises."""
        for data in self._reader.feed(piece):
            self._event(data)

    def whole(self) -> Any:
        for data in self._reader.finish():
            self._event(data)
        return self._form.whole()

    def _event(self, data: bytes) -> None:
        if data == b"[DONE]":
            return
        said = orjson.loads(data)
        error = said.get("error")
        if error is None and said.get("type") in ("server_error", "invalid_request_error"):
            error = said  # on /v1/messages llama.cpp leaves out the envelope
        if error is not None:
            raise _failed(error)
        self._form.event(said)


def _failed(error: Any) -> Exception:
    known = error if isinstance(error, dict) else {"message": str(error)}
    if str(known.get("message")).startswith("Invalid diff"):
        # The parser took back what it had streamed (common_chat_msg_diff, common/chat.cpp).
        return AskWhole(known["message"])
    code = known.get("code")
    status = code if isinstance(code, int) and 400 <= code < 600 else 502
    return EngineSaid(status, orjson.dumps({"error": known}))


def carries(form: Form, request: Mapping[str, Any]) -> bool:
    """Whether a stream carries the whole answer to ``request``, which asks for no stream."""
    stream = request.get("stream")
    if stream is not None and stream is not False:
        return False  # any other value is for the engine to judge
    if any(name in request for name in _NOT_IN_A_STREAM):
        return False
    stops = any(request.get(name) not in (None, []) for name in _STOPS)
    limited = any(isinstance(request.get(name), int | float) for name in _LIMITS)
    return not (form.hides_what_it_holds and stops and limited)


def as_stream(body: bytes) -> bytes:
    """``body``, a JSON object, asking for a stream; its own bytes stay as they are."""
    head = body.rstrip()[:-1].rstrip()
    return head + (_ASKED if head.endswith(b"{") else b"," + _ASKED)


def nothing_held(texts: list[str], *, cut: bool) -> None:
    """Each token has its event: an empty one at the end was kept back and is lost."""
    if cut and texts and not texts[-1]:
        raise AskWhole("its end may be a stop text's beginning")
