"""The round trip: what a client will do, done now, in its own protocol, with what was written."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from local_ai_suite.client.transport import Address, Timeouts, Transport
from local_ai_suite.errors import SuiteError
from local_ai_suite.messages import tr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .editor import Protocol

# After a cancel the slot must be free: a short answer on a CPU needs seconds, a long one minutes.
AFTER_CANCEL = 120.0
_SHORT, _LONG = 64, 1500  # tokens of a short answer; of one that is worth cancelling
_TOOL = "get_weather"
_ASK = "What is the weather in Seoul? Use the tool get_weather."
_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
_RESULT = "Sunny, 21 degrees."
_FIM = "<|fim_prefix|>def add(a, b):\n    <|fim_suffix|>\n<|fim_middle|>"


@dataclass(frozen=True, slots=True)
class Step:
    """``passed`` ``None``: the client does not do this."""

    name: str
    passed: bool | None
    detail: str
    seconds: float = 0.0


class _Missing(Exception):
    """What should have been in an answer."""


def prove(
    base_url: str, model: str, key: str | None, protocol: Protocol, *,
    tools: bool, fim_model: str | None, timeouts: Timeouts | None = None,
) -> list[Step]:  # fmt: skip
    """Chat, stream, tool call with its second turn, FIM, cancel. Never raises for a failed step."""
    server = Transport(Address.parse(base_url), key, timeouts or Timeouts())
    wait = (timeouts or Timeouts()).first_byte
    speak = {"chat": _Chat, "responses": _Responses, "messages": _Messages}[protocol]
    talk = speak(server, model, wait)
    steps = [_step(tr("chat"), talk.chat), _step(tr("stream"), talk.stream)]
    if tools:
        steps.append(_step(tr("tool call and second turn"), talk.tool))
    else:
        steps.append(Step(tr("tool call and second turn"), None, tr("it uses no tools")))
    if fim_model:
        steps.append(_step(tr("fill in the middle"), lambda: _fim(server, fim_model, wait)))
    steps.append(_step(tr("cancel"), talk.cancel))
    return steps


def _step(name: str, action: Callable[[], str]) -> Step:
    started = time.monotonic()
    try:
        detail, passed = action(), True
    except SuiteError as exc:
        detail, passed = exc.message, False
    except _Missing as exc:
        detail, passed = exc.args[0], False
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as exc:
        detail, passed = (
            tr("an answer of another shape: {name} {exc}", name=type(exc).__name__, exc=exc),
            False,
        )
    return Step(name, passed, detail, time.monotonic() - started)


def _fim(server: Transport, model: str, wait: float) -> str:
    body = {"model": model, "prompt": _FIM, "max_tokens": _SHORT, "temperature": 0}
    answer = server.json("POST", "/v1/completions", body, wait=wait, model=model)
    return _words(answer["choices"][0]["text"])


def _words(text: Any) -> str:
    if not isinstance(text, str) or not text.strip():
        raise _Missing(tr("an answer without a word"))
    return " ".join(text.split())[:60]


class _Talk:
    """One protocol. ``path``: its route; ``_pieces``: the text in a stream's events."""

    path = ""

    def __init__(self, server: Transport, model: str, wait: float) -> None:
        self._server, self._model, self._wait = server, model, wait

    def _body(self, text: str, tokens: int) -> dict[str, Any]:
        raise NotImplementedError

    def _text(self, answer: dict[str, Any]) -> Any:
        raise NotImplementedError

    def _piece(self, event: dict[str, Any]) -> Any:
        raise NotImplementedError

    def tool(self) -> str:
        raise NotImplementedError

    def chat(self) -> str:
        return _words(self._text(self._post(self._body("Say hello.", _SHORT))))

    def stream(self) -> str:
        pieces = [piece for piece in self._events("Say hello.", _SHORT) if piece]
        text = _words("".join(pieces))
        return tr("{count} pieces: {text}", count=len(pieces), text=text)

    def cancel(self) -> str:
        events = self._events("Count from 1 to 1000, go on forever.", _LONG)
        next(events, None)
        events.close()  # type: ignore[attr-defined]
        started = time.monotonic()
        self._post(self._body("Say hello.", 8), wait=AFTER_CANCEL)
        return tr(
            "the next answer came {seconds:.1f} s after it", seconds=time.monotonic() - started
        )

    def _post(self, body: dict[str, Any], wait: float | None = None) -> dict[str, Any]:
        return self._server.json(
            "POST", self.path, body, wait=wait or self._wait, model=self._model
        )

    def _events(self, text: str, tokens: int) -> Iterator[str]:
        body = {**self._body(text, tokens), "stream": True}
        exchange = self._server.send("POST", self.path, body, wait=self._wait)
        try:
            if exchange.status >= 400:
                self._server.checked(exchange, self._model, wait=self._wait)
            for event in exchange.events(self._wait, self._wait):
                if event != b"[DONE]":
                    yield self._piece(orjson.loads(event)) or ""
        finally:
            exchange.close()


class _Chat(_Talk):
    path = "/v1/chat/completions"

    def _body(self, text: str, tokens: int) -> dict[str, Any]:
        return {"model": self._model, "max_tokens": tokens, "temperature": 0,
                "messages": [{"role": "user", "content": text}]}  # fmt: skip

    def _text(self, answer: dict[str, Any]) -> Any:
        return answer["choices"][0]["message"]["content"]

    def _piece(self, event: dict[str, Any]) -> Any:
        choices = event.get("choices") or [{}]
        return (choices[0].get("delta") or {}).get("content")

    def tool(self) -> str:
        function = {"name": _TOOL, "description": "The weather", "parameters": _SCHEMA}
        body = self._body(_ASK, 200) | {"tools": [{"type": "function", "function": function}]}
        message = self._post(body)["choices"][0]["message"]
        calls = message.get("tool_calls")
        if not calls:
            raise _Missing(tr("the model answered without calling the tool"))
        arguments = orjson.loads(calls[0]["function"]["arguments"])
        answer = {"role": "tool", "tool_call_id": calls[0]["id"], "content": _RESULT}
        body["messages"] += [message, answer]
        return f"{_TOOL}({arguments}); {_words(self._text(self._post(body)))}"


class _Responses(_Talk):
    path = "/v1/responses"

    def _body(self, text: str, tokens: int) -> dict[str, Any]:
        return {"model": self._model, "max_output_tokens": tokens, "temperature": 0,
                "input": [{"role": "user", "content": text}]}  # fmt: skip

    def _text(self, answer: dict[str, Any]) -> Any:
        parts = [p for item in answer["output"] for p in item.get("content") or []]
        return "".join(part.get("text", "") for part in parts if part["type"] == "output_text")

    def _piece(self, event: dict[str, Any]) -> Any:
        return event["delta"] if event.get("type") == "response.output_text.delta" else ""

    def tool(self) -> str:
        tool = {"type": "function", "name": _TOOL, "description": "x", "parameters": _SCHEMA}
        body = self._body(_ASK, 200) | {"tools": [tool]}
        output = self._post(body)["output"]
        call = next((item for item in output if item["type"] == "function_call"), None)
        if call is None:
            raise _Missing(tr("the model answered without calling the tool"))
        arguments = orjson.loads(call["arguments"])
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": _RESULT}
        body["input"] += [call, result]
        return f"{_TOOL}({arguments}); {_words(self._text(self._post(body)))}"


class _Messages(_Talk):
    path = "/v1/messages"

    def _body(self, text: str, tokens: int) -> dict[str, Any]:
        return {"model": self._model, "max_tokens": tokens, "temperature": 0,
                "messages": [{"role": "user", "content": text}]}  # fmt: skip

    def _text(self, answer: dict[str, Any]) -> Any:
        return "".join(p.get("text", "") for p in answer["content"] if p["type"] == "text")

    def _piece(self, event: dict[str, Any]) -> Any:
        return (event.get("delta") or {}).get("text")

    def tool(self) -> str:
        tool = {"name": _TOOL, "description": "The weather", "input_schema": _SCHEMA}
        body = self._body(_ASK, 200) | {"tools": [tool]}
        content = self._post(body)["content"]
        call = next((part for part in content if part["type"] == "tool_use"), None)
        if call is None:
            raise _Missing(tr("the model answered without calling the tool"))
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": _RESULT}
        body["messages"] += [
            {"role": "assistant", "content": content},
            {"role": "user", "content": [result]},
        ]
        return f"{_TOOL}({call['input']}); {_words(self._text(self._post(body)))}"
