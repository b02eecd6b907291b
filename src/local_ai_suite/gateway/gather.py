"""A whole answer, put together from the engine's stream, so that a hang-up frees the slot at once.

llama.cpp looks once a second whether the client of an answer that does not stream is still there,
and each result of any other request puts that off (``recv_with_timeout`` waits anew after each,
tools/server/server-queue.cpp): beside a busy stream such a hang-up is never noticed. Of a stream it
notices the hang-up at the next token. So the gateway asks for a stream where the client asked for
the whole, and puts together what llama.cpp would have answered, member for member
(``to_json_oaicompat_chat`` and its neighbours in tools/server/server-task.cpp).

What a stream does not carry is asked for as it came: see :func:`gather` and :class:`Unfaithful`.
One difference remains: an answer that was cut at its limit of tokens in the middle of a character
ends before that token, as every stream of llama.cpp does, instead of with U+FFFD.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from .mends.sse import EventReader

if TYPE_CHECKING:
    from collections.abc import Callable

# Last in the body: of two members with one name, llama.cpp and the pool take the second.
# ``return_progress`` gives an event per batch of the prompt: a hang-up is noticed there too.
_ASKED = b'"stream":true,"stream_options":{"include_usage":true},"return_progress":true}'
# Any value of "stream" but these is for the engine to judge.
_STREAM_SAID = re.compile(rb'"stream"\s*:(?!\s*(?:false|null))')
_NOT_IN_A_STREAM = (
    b'"logprobs"',  # a stream cannot take back those of a stop text, and chat's loses held ones
    b'"n_probs"',
    b'"return_tokens"',  # the tokens of a character that comes in parts are lost
    b'"n_indent"',  # it cuts a line that a stream has sent already
    b'"reasoning_format"',  # "deepseek-legacy" streams thoughts in another place
    b'"stream_options"',
    b'"return_progress"',
)


# Of an answer that ends at its limit, a stream keeps back what may be the beginning of a stop text.
# On /v1/completions and llama.cpp's own routes that shows; on the chat routes it does not.
_STOPS = re.compile(rb'"stop(?:_sequences)?"\s*:\s*(?:"|\[\s*[^\]\s])')
_LIMITS = re.compile(rb'"(?:max_tokens|max_completion_tokens|n_predict)"\s*:\s*\d')
_HIDES_WHAT_IT_HOLDS = frozenset({"/v1/chat/completions", "/v1/messages"})


class Unfaithful(Exception):
    """The stream does not hold what the whole answer would: ask for that after all."""


class EngineSaid(Exception):
    """An error in mid-stream: ``status``, and ``body`` as llama.cpp answers it unstreamed."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class _Form(Protocol):
    """One API's stream on its way to be a whole answer."""

    def event(self, said: dict[str, Any]) -> None: ...

    def whole(self) -> Any:
        """Raises Unfaithful, or LookupError when the stream ended early."""
        ...


class Gathered:
    """Feed it the stream as it comes; ``whole`` is the answer's JSON."""

    def __init__(self, form: _Form) -> None:
        self._form = form
        self._reader = EventReader()

    def feed(self, piece: bytes) -> None:
        """Raises EngineSaid at an error event, and what a misshaped event raises."""
        for data in self._reader.feed(piece):
            self._event(data)

    def whole(self) -> bytes:
        for data in self._reader.finish():
            self._event(data)
        return orjson.dumps(self._form.whole())

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
        return Unfaithful(known["message"])
    code = known.get("code")
    status = code if isinstance(code, int) and 400 <= code < 600 else 502
    return EngineSaid(status, orjson.dumps({"error": known}))


class Gather:
    """How one request is asked: ``body`` goes to the engine instead of the client's."""

    __slots__ = ("_form", "body")

    def __init__(self, body: bytes, form: Callable[[], _Form]) -> None:
        self.body = body
        self._form = form

    def begin(self) -> Gathered:
        return Gathered(self._form())


def gather(path: str, body: bytes) -> Gather | None:
    """The way to ask for ``body`` (a JSON object that asks for no stream) at the engine's ``path``.

    ``None``: as it is, because the path generates nothing or a stream would not carry the answer.
    """
    form = _FORMS.get(path)
    if form is None or any(name in body for name in _NOT_IN_A_STREAM) or _STREAM_SAID.search(body):
        return None
    if path in _HIDES_WHAT_IT_HOLDS and _STOPS.search(body) and _LIMITS.search(body):
        return None
    head = body.rstrip()[:-1].rstrip()
    return Gather(head + (_ASKED if head.endswith(b"{") else b"," + _ASKED), form)


class _Chat:
    """/v1/chat/completions; ``n`` choices come mixed, each with a usage of its own at its end."""

    def __init__(self) -> None:
        self._choices: dict[int, _Message] = {}
        self._ended: dict[int, dict[str, Any]] = {}
        self._usages: dict[int, dict[str, Any]] = {}
        self._last = 0

    def event(self, said: dict[str, Any]) -> None:
        for choice in said["choices"]:
            index = choice["index"]
            message = self._choices.get(index)
            if message is None:
                message = self._choices[index] = _Message()
            message.add(choice["delta"])
            if choice["finish_reason"] is not None:
                message.finish, self._last = choice["finish_reason"], index
                self._ended[index] = said
        if not said["choices"]:
            self._usages[self._last] = said  # it follows its choice's end

    def whole(self) -> dict[str, Any]:
        choices = []
        for index in range(len(self._choices)):
            message, usage = self._choices[index], self._usages[index]["usage"]
            if message.silent and (message.finish == "length" or usage["completion_tokens"] > 1):
                # Whole, llama.cpp shows the raw text of what its parser makes nothing of. One token
                # that is no cut is the end itself.
                raise Unfaithful("tokens without a message")
            ended = {"finish_reason": message.finish, "index": index, "message": message.whole()}
            choices.append(ended)
        frame, usage = self._ended[0], self._usages[0]
        said = {
            "choices": choices,
            "created": frame["created"],
            "model": frame["model"],
            "system_fingerprint": frame["system_fingerprint"],
            "object": "chat.completion",
            "usage": usage["usage"],
            "id": frame["id"],
        }
        if "timings" in usage:
            said["timings"] = usage["timings"]
        return said


class _Message:
    """The deltas of one choice."""

    __slots__ = ("_calls", "_text", "_thought", "finish")

    def __init__(self) -> None:
        self._text: list[str] = []
        self._thought: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self.finish: str | None = None

    @property
    def silent(self) -> bool:
        return not (self._text or self._thought or self._calls)

    def add(self, delta: dict[str, Any]) -> None:
        if text := delta.get("content"):
            self._text.append(text)
        if thought := delta.get("reasoning_content"):
            self._thought.append(thought)
        for part in delta.get("tool_calls") or ():
            call = self._calls.setdefault(part["index"], {"name": "", "arguments": []})
            function = part.get("function") or {}
            call["id"] = part.get("id") or call.get("id")
            call["name"] = function.get("name") or call["name"]
            call["arguments"].append(function.get("arguments") or "")

    def whole(self) -> dict[str, Any]:
        said: dict[str, Any] = {"role": "assistant", "content": "".join(self._text)}
        if self._thought:
            said["reasoning_content"] = "".join(self._thought)
        if self._calls:
            said["tool_calls"] = [_call(self._calls[index]) for index in sorted(self._calls)]
        return said


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": "".join(call["arguments"])}
    named = {"id": call["id"]} if call["id"] else {}
    return {"type": "function", "function": function, **named}


class _Completion:
    """/v1/completions; the last event of each prompt and choice has the rest of the answer."""

    def __init__(self) -> None:
        self._texts: dict[int, list[str]] = {}
        self._ended: dict[int, dict[str, Any]] = {}

    def event(self, said: dict[str, Any]) -> None:
        for choice in said["choices"]:
            index = choice["index"]
            texts = self._texts.setdefault(index, [])
            if choice["finish_reason"] is not None:
                _nothing_held(texts, cut=choice["finish_reason"] == "length")
                self._ended[index] = said
            texts.append(choice["text"])

    def whole(self) -> dict[str, Any]:
        said = self._ended[0]
        said["choices"] = [self._choice(index) for index in range(len(self._texts))]
        return said

    def _choice(self, index: int) -> dict[str, Any]:
        choice: dict[str, Any] = self._ended[index]["choices"][0]
        choice["text"] = "".join(self._texts[index])
        return choice


class _Native:
    """/infill and /completion, llama.cpp's own form; ``response_fields`` may thin out the end."""

    def __init__(self) -> None:
        self._texts: dict[int, list[str]] = {}
        self._ended: list[dict[str, Any]] = []

    def event(self, said: dict[str, Any]) -> None:
        if said.get("stop") is False:
            self._texts.setdefault(said["index"], []).append(said["content"])
        else:
            self._ended.append(said)

    def whole(self) -> Any:
        if len(self._ended) != len(self._texts):
            raise LookupError("an answer without an end")
        if len(self._ended) == 1:
            return self._one(self._ended[0], *self._texts)
        if any("index" not in ended for ended in self._ended):
            raise Unfaithful("nothing tells the answers apart")
        found = {ended["index"]: self._one(ended, ended["index"]) for ended in self._ended}
        return [found[index] for index in sorted(found)]

    def _one(self, said: dict[str, Any], index: int) -> dict[str, Any]:
        # Where ``response_fields`` leaves the reason out, the last token alone tells.
        _nothing_held(self._texts[index], cut=said.get("stop_type", "limit") == "limit")
        if "content" in said:
            said["content"] = "".join(self._texts[index])
        if "generation_settings" in said:
            said["generation_settings"]["stream"] = False
        if "generation_settings/stream" in said:
            said["generation_settings/stream"] = False
        return said


def _nothing_held(texts: list[str], *, cut: bool) -> None:
    """Each token has its event: an empty one at the end was kept back and is lost."""
    if cut and texts and not texts[-1]:
        raise Unfaithful("its end may be a stop text's beginning")


class _Anthropic:
    """/v1/messages."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._parts: dict[int, list[str]] = {}
        self._end: dict[str, Any] = {}

    def event(self, said: dict[str, Any]) -> None:
        kind = said["type"]
        if kind == "content_block_delta":
            delta = said["delta"]
            text = delta.get("text") or delta.get("thinking") or delta.get("partial_json")
            if text:
                self._parts[said["index"]].append(text)
        elif kind == "content_block_start":
            # The last event begins blocks once more when it has something to add to them.
            self._blocks.setdefault(said["index"], said["content_block"])
            self._parts.setdefault(said["index"], [])
        elif kind == "message_start":
            self._message = said["message"]
        elif kind == "message_delta":
            self._end = said

    def whole(self) -> dict[str, Any]:
        if not self._message:
            # llama.cpp forgets it when the first token is no whole character (n_decoded == 1).
            raise Unfaithful("a stream without message_start")
        made = self._end["usage"]["output_tokens"]
        content = [self._block(index) for index in sorted(self._blocks)]
        if not content and (made > 1 or self._end["delta"]["stop_reason"] == "max_tokens"):
            raise Unfaithful("tokens without a block")
        message = {key: self._message[key] for key in ("id", "type", "role")}
        usage = {**self._message["usage"], "output_tokens": made}
        return {
            **message,
            "content": content,
            "model": self._message["model"],
            **self._end["delta"],
            "usage": usage,
        }

    def _block(self, index: int) -> dict[str, Any]:
        block, text = self._blocks[index], "".join(self._parts[index])
        if block["type"] == "thinking":
            return {"type": "thinking", "thinking": text, "signature": ""}
        if block["type"] == "text":
            return {"type": "text", "text": text}
        try:
            given = orjson.loads(text)
        except orjson.JSONDecodeError:
            given = {}
        return {**block, "input": given}


_FORMS: dict[str, Callable[[], _Form]] = {
    "/v1/chat/completions": _Chat,
    "/v1/completions": _Completion,
    "/v1/messages": _Anthropic,
    "/infill": _Native,
    "/completion": _Native,
}
