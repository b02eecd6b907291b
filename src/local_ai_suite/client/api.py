"""The calls: models, chat, completion, FIM, counting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import orjson

from local_ai_suite.errors import NetworkError, RequestRefused
from local_ai_suite.messages import tr

from . import answers, failures
from .transport import Address, Timeouts, Transport

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from local_ai_suite.settings import Settings

    from .answers import Answer, Delta, Model
    from .transport import Exchange

Message = dict[str, Any]

_ANY_ADDRESS = frozenset({"0.0.0.0", "::", "localhost"})  # noqa: S104 (compared, not bound)
# The status of a server that has no such route (a cloud model's, a plain LiteLLM).
_NO_ROUTE = frozenset({404, 405, 501})


def client_for(settings: Settings, *, timeouts: Timeouts | None = None) -> Client:
    """A client of this project's gateway, with its key from the settings."""
    host = "127.0.0.1" if settings.bind_address in _ANY_ADDRESS else settings.bind_address
    host = f"[{host}]" if ":" in host else host
    return Client(
        f"http://{host}:{settings.api_gateway_port}/v1",
        settings.litellm_master_key,
        timeouts=timeouts,
    )


class Client:
    """Calls one server. Safe to use from several threads; every call has its own connection."""

    def __init__(
        self, base_url: str, key: str | None = None, *, timeouts: Timeouts | None = None
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._address = Address.parse(base_url)
        self._transport = Transport(self._address, key, self._timeouts)

    @property
    def base_url(self) -> str:
        """The address with ``/v1``, as other programs want it."""
        return f"{self._address.root}/v1"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing stays open between calls; the ``with`` is for the reader."""

    def models(self) -> tuple[Model, ...]:
        """All models, with the limits that the server tells."""
        body = self._transport.json("GET", "/v1/models", wait=self._timeouts.quick)
        try:
            return tuple(answers.read_model(entry) for entry in body["data"])
        except (KeyError, TypeError) as exc:
            raise failures.not_an_api(self.base_url, str(body)) from exc

    def model(self, name: str) -> Model:
        """The entry called ``name``. Raises :class:`RequestRefused` that lists what there is."""
        models = self.models()
        for entry in models:
            if entry.id == name:
                return entry
        there = ", ".join(sorted(entry.id for entry in models)) or "none"
        raise RequestRefused(
            tr("{base_url} has no model called {name}", base_url=self.base_url, name=name),
            hint=tr("It has: {there}.", there=there),
            status=404,
            server_code="model_not_found",
        )

    def chat(
        self,
        messages: Sequence[Message],
        *,
        model: str,
        max_tokens: int | None = None,
        temperature: float | None = None,
        schema: Mapping[str, Any] | None = None,
        tools: Sequence[Message] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Answer:
        """One whole answer. With ``schema`` the engine can only write JSON that fits it:
        ``chat(..., schema=s).json()``. ``extra`` goes into the body as it is (``seed``, ``stop``).
        """
        body = _chat_body(messages, model, max_tokens, temperature, schema, tools, extra)
        answer = self._transport.json(
            "POST", "/v1/chat/completions", body, wait=self._timeouts.first_byte, model=model
        )
        return self._read(answers.read_chat, answer)

    def stream_chat(
        self,
        messages: Sequence[Message],
        *,
        model: str,
        max_tokens: int | None = None,
        temperature: float | None = None,
        schema: Mapping[str, Any] | None = None,
        tools: Sequence[Message] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> ChatStream:
        """The same, piece by piece. Close the stream (or leave its ``with``) to stop the model."""
        body = _chat_body(messages, model, max_tokens, temperature, schema, tools, extra)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        exchange = self._transport.send(
            "POST", "/v1/chat/completions", body, wait=self._timeouts.first_byte
        )
        if exchange.status >= 400:
            try:
                self._transport.checked(exchange, model, wait=self._timeouts.quick)
            finally:
                exchange.close()
        return ChatStream(exchange, model, self._timeouts)

    def complete(
        self,
        prompt: str,
        *,
        model: str,
        max_tokens: int | None = None,
        temperature: float | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Answer:
        """``/v1/completions``: the prompt as it is, without a chat template."""
        body = _sampling({"model": model, "prompt": prompt}, max_tokens, temperature, extra)
        answer = self._transport.json(
            "POST", "/v1/completions", body, wait=self._timeouts.first_byte, model=model
        )
        return self._read(answers.read_completion, answer)

    def fim(
        self,
        prefix: str,
        suffix: str,
        *,
        model: str,
        max_tokens: int | None = None,
        temperature: float | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Answer:
        """What belongs between ``prefix`` and ``suffix`` (llama.cpp's ``/infill``)."""
        body: dict[str, Any] = {"model": model, "input_prefix": prefix, "input_suffix": suffix}
        body = _sampling(body, None, temperature, extra)
        if max_tokens is not None:
            body["n_predict"] = max_tokens
        answer = self._transport.json(
            "POST", "/infill", body, wait=self._timeouts.first_byte, model=model
        )
        return self._read(answers.read_completion, answer)

    def count_tokens(
        self,
        what: str | Sequence[Message],
        *,
        model: str,
        tools: Sequence[Message] | None = None,
    ) -> int | None:
        """Exact tokens of a text, or of a whole chat after the model's own template.

        ``None`` when the server cannot count (a cloud model). May load the model.
        """
        wait = self._timeouts.first_byte
        try:
            if isinstance(what, str):
                body: dict[str, Any] = {"model": model, "content": what}
            else:
                asked: dict[str, Any] = {"model": model, "messages": list(what)}
                if tools:
                    asked["tools"] = list(tools)
                said = self._transport.json(
                    "POST", "/apply-template", asked, wait=wait, model=model
                )
                # As llama.cpp tokenises a chat prompt: with the special tokens, BOS included.
                body = {"model": model, "content": said["prompt"], "add_special": True}
            counted = self._transport.json("POST", "/tokenize", body, wait=wait, model=model)
            return len(counted["tokens"])
        except RequestRefused as exc:
            if exc.details.get("status") in _NO_ROUTE:
                return None
            raise
        except (KeyError, TypeError) as exc:
            raise failures.not_an_api(self.base_url, "no tokens in /tokenize's answer") from exc

    def _read(self, reader: Any, body: dict[str, Any]) -> Answer:
        try:
            answer: Answer = reader(body)
        except (KeyError, IndexError, TypeError, AttributeError) as exc:
            raise failures.not_an_api(self.base_url, str(body)) from exc
        return answer


class ChatStream:
    """An answer on its way: iterate for its pieces, then read ``answer``.

    ``close`` stops the model, also from another thread or a signal handler. After a close in the
    middle ``answer`` holds what had come, with ``finish_reason`` None.
    """

    def __init__(self, exchange: Exchange, model: str, timeouts: Timeouts) -> None:
        self._exchange = exchange
        self._timeouts = timeouts
        self._model = model
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, list[str]] = {}  # index -> [id, name, arguments]
        self._finish: str | None = None
        self._usage = answers.Usage()
        self._timings = answers.Timings()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Delta]:
        waits = self._timeouts.first_byte, self._timeouts.stall
        try:
            for event in self._exchange.events(*waits):
                if event == b"[DONE]":
                    return
                delta = self._take(event)
                if delta.text or delta.reasoning:
                    yield delta
            if self._finish is None:
                raise failures.broke_off(self._exchange.url)
        except NetworkError:
            if not self._exchange.closed:  # else: `close` was called in the middle
                raise
        finally:
            self.close()

    def close(self) -> None:
        """Hang up: the server stops writing. Also after the last piece."""
        self._exchange.close()

    @property
    def answer(self) -> Answer:
        """What has come so far, as an answer; ``finish_reason`` is ``None`` before the end."""
        return answers.Answer(
            text="".join(self._text),
            model=self._model,
            reasoning="".join(self._reasoning),
            finish_reason=self._finish,
            tool_calls=tuple(
                answers.ToolCall(*self._calls[index]) for index in sorted(self._calls)
            ),
            usage=self._usage,
            timings=self._timings,
        )

    def _take(self, event: bytes) -> Delta:
        url = self._exchange.url
        try:
            body = orjson.loads(event)
            if body.get("error"):
                status = body["error"].get("code")
                raise failures.refusal(status if isinstance(status, int) else 500, body, url)
            self._model = body.get("model") or self._model
            if body.get("usage"):
                self._usage = answers.read_usage(body)
            if body.get("timings"):
                self._timings = answers.read_timings(body)
            # The last chunk carries the usage and has no choices.
            choices = body.get("choices") or []
            if not choices:
                return answers.Delta()
            self._finish = choices[0].get("finish_reason") or self._finish
            said = choices[0].get("delta") or {}
            for call in said.get("tool_calls") or []:
                self._take_call(call)
            delta = answers.Delta(said.get("content") or "", said.get("reasoning_content") or "")
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError) as exc:
            raise failures.not_an_api(url, event.decode("utf-8", "replace")) from exc
        self._text.append(delta.text)
        self._reasoning.append(delta.reasoning)
        return delta

    def _take_call(self, call: dict[str, Any]) -> None:
        known = self._calls.setdefault(int(call.get("index", 0)), ["", "", ""])
        function = call.get("function") or {}
        known[0] = call.get("id") or known[0]
        known[1] += function.get("name") or ""
        known[2] += function.get("arguments") or ""


def _chat_body(
    messages: Sequence[Message],
    model: str,
    max_tokens: int | None,
    temperature: float | None,
    schema: Mapping[str, Any] | None,
    tools: Sequence[Message] | None,
    extra: Mapping[str, Any] | None,
) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "messages": list(messages)}
    if schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": dict(schema)},
        }
    if tools:
        body["tools"] = list(tools)
    return _sampling(body, max_tokens, temperature, extra)


def _sampling(
    body: dict[str, Any],
    max_tokens: int | None,
    temperature: float | None,
    extra: Mapping[str, Any] | None,
) -> dict[str, Any]:
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    if temperature is not None:
        body["temperature"] = temperature
    return {**body, **(extra or {})}
