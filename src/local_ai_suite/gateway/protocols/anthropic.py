"""/v1/messages: Anthropic's Messages, which llama.cpp speaks itself but for five things.

- A named ``tool_choice`` is taken for "any tool" (llama.cpp#26535, as on chat completions). A text
  block before the tool_use block is legal in this API, so it is enough to offer the one tool; the
  engine's "any" then forces the call.
- The ``content_block_start`` of a streamed tool_use has no ``input``
  (tools/server/server-task.cpp), which the SDK's types require, and which a tool without
  arguments then never gets.
- A stop at one of ``stop_sequences`` has the reason "end_turn", though ``stop_sequence`` names it.
- A stream whose first token is half a character has no ``message_start``: it is sent with the
  first token (``n_decoded == 1``), and a half character is not sent.
- A message's id is a chat completion's (``chatcmpl-``), and this API's begin with ``msg_``.

Streams are put right in the bytes: inside a JSON string every quote is escaped, so these patterns
match members of objects alone.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any, ClassVar

from local_ai_suite.wire.envelope import ANTHROPIC
from local_ai_suite.wire.routes import llama_server

from .anthropic_turns import AnthropicTurns
from .body import loads
from .endpoint import Endpoint
from .errors import Refused
from .events import Stream, named_event
from .gather import AskWhole
from .members import members
from .schemas import schemas

if TYPE_CHECKING:
    from .endpoint import Asked

_WITHOUT_INPUT = re.compile(rb'("content_block":\{"type":"tool_use","id":"[^"]*","name":"[^"]*")\}')
_ENDED_AT_A_STOP = re.compile(rb'"stop_reason":"end_turn","stop_sequence":(?=")')
_ID_OF_ITS_OWN = re.compile(rb'("message":\{"id":")chatcmpl-')
_CHAT_ID = "chatcmpl-"
_END_OF_EVENT = b"\n\n"
_FIRST_EVENT = b"event: message_start\n"
# What may come instead of it, when the engine has forgotten it. A ping or an error may stand alone.
_CONTENT = (b"event: content_block_", b"event: message_delta\n")


def named_tool(asked: Asked) -> None:
    """Offer the tool alone that the request's tool choice names. Raises Refused."""
    choice = asked.request.get("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") != "tool":
        return
    request = asked.edit()
    name, tools = choice.get("name"), request.get("tools")
    listed = tools if isinstance(tools, list) else []
    named = [tool for tool in listed if isinstance(tool, dict) and tool.get("name") == name]
    if not named:
        raise Refused(f"tool_choice names {name!r}, which is not among the tools", "tool_choice")
    request["tools"] = named


def shape(asked: Asked) -> None:
    """Put the answer's shape right; a stream's beginning alone where the rest cannot be wrong."""
    request = asked.request
    model, tools = asked.target.public, "tools" in request or "stop_sequences" in request
    asked.translate(_whole, lambda: MessagesStream(model, patched=tools))


def _whole(answer: dict[str, Any]) -> dict[str, Any]:
    if str(answer.get("id")).startswith(_CHAT_ID):
        answer["id"] = "msg_" + answer["id"].removeprefix(_CHAT_ID)
    if answer.get("stop_sequence") and answer.get("stop_reason") == "end_turn":
        answer["stop_reason"] = "stop_sequence"
    return answer


class MessagesStream(Stream):
    """Begins with ``message_start``; with ``patched``, whole events are put right.

    The count of the prompt's tokens is told nowhere else, so a ``message_start`` that the engine
    has forgotten says 0.
    """

    def __init__(self, model: str, *, patched: bool) -> None:
        self._model = model
        self._patched = patched
        self._begun = False
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        if self._begun and not self._patched:
            return chunk
        text = self._rest + chunk
        end = text.rfind(_END_OF_EVENT) + len(_END_OF_EVENT)
        if end < len(_END_OF_EVENT):
            self._rest = text
            return b""
        self._rest = text[end:]
        made = self._begin(text[:end])
        if self._begun and not self._patched:
            made, self._rest = made + self._rest, b""
        return made

    def finish(self) -> bytes:
        rest, self._rest = self._rest, b""
        return self._begin(rest)

    def _begin(self, events: bytes) -> bytes:
        """``events`` put right, with a ``message_start`` before the first content."""
        if self._patched:
            events = _WITHOUT_INPUT.sub(rb'\1,"input":{}}', events)
            events = _ENDED_AT_A_STOP.sub(b'"stop_reason":"stop_sequence","stop_sequence":', events)
        if self._begun:
            return events
        content = min((at for name in _CONTENT if (at := events.find(name)) >= 0), default=-1)
        if (start := events.find(_FIRST_EVENT)) >= 0 and (content < 0 or start < content):
            self._begun = True
            return _ID_OF_ITS_OWN.sub(rb"\1msg_", events, count=1)
        if content >= 0:
            self._begun = True
            return events[:content] + self._message_start() + events[content:]
        return events

    def _message_start(self) -> bytes:
        message: dict[str, Any] = {
            "id": f"msg_{secrets.token_hex(12)}", "type": "message", "role": "assistant",
            "content": [], "model": self._model, "stop_reason": None, "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }  # fmt: skip
        return named_event("message_start", {"type": "message_start", "message": message})


class MessagesForm:
    """A whole answer."""

    hides_what_it_holds: ClassVar[bool] = True

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
            raise AskWhole("a stream without message_start")
        made = self._end["usage"]["output_tokens"]
        content = [self._block(index) for index in sorted(self._blocks)]
        if not content and (made > 1 or self._end["delta"]["stop_reason"] == "max_tokens"):
            raise AskWhole("tokens without a block")
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
            given = loads(text)
        except ValueError:
            given = {}
        return {**block, "input": given}


ENDPOINTS = (
    Endpoint(
        llama_server("/v1/messages"),
        translations=(members, named_tool, schemas, shape),
        form=MessagesForm,
        conversation=AnthropicTurns(),
        envelope=ANTHROPIC,
    ),
    Endpoint(
        llama_server("/v1/messages/count_tokens"),
        translations=(schemas,),
        conversation=AnthropicTurns(),
        envelope=ANTHROPIC,
    ),
)
