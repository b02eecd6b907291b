"""What the server says, as values. Fields that it left out are ``None``, never guessed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from local_ai_suite.errors import BadAnswer
from local_ai_suite.messages import tr

_SHOWN = 200  # characters of an unusable answer that an error message quotes


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens: of the prompt, of the answer, and how many of the prompt came from the cache."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """llama.cpp's ``timings``: tokens per second of reading the prompt and of writing."""

    prompt_per_second: float | None = None
    predicted_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """``arguments`` is the JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a streamed answer; ``reasoning`` is what a thinking model says to itself."""

    text: str = ""
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer (or what had come when the stream was closed: ``finish_reason`` None)."""

    text: str
    model: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    timings: Timings = Timings()

    def json(self) -> Any:
        """The text as JSON. Raises :class:`BadAnswer` that says why it is none."""
        try:
            return orjson.loads(self.text)
        except orjson.JSONDecodeError as exc:
            if self.finish_reason == "length":
                raise BadAnswer(
                    tr("the answer was cut at its token limit before its JSON was complete"),
                    hint=tr("Allow more tokens (--max-tokens), or ask for less."),
                ) from exc
            raise BadAnswer(
                tr(
                    "the model {model} did not answer in JSON: {text!r}",
                    model=self.model,
                    text=self.text[:_SHOWN],
                ),
                hint=tr("Ask again, or use a larger model."),
            ) from exc


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of ``/v1/models``. ``context`` is in tokens, per request (one slot)."""

    id: str
    kind: str | None = None
    status: str | None = None
    context: int | None = None
    max_output: int | None = None
    capabilities: frozenset[str] | None = None
    is_demo: bool = False
    meta: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def can(self, capability: str) -> bool | None:
        """``None`` when the server does not say what its models can do."""
        return None if self.capabilities is None else capability in self.capabilities


def read_model(entry: dict[str, Any]) -> Model:
    """An entry of our engine's or gateway's list (``meta``), or any other server's."""
    meta = entry["meta"] if isinstance(entry.get("meta"), dict) else {}
    said = {**entry, **meta}
    capabilities = said.get("capabilities")
    return Model(
        id=str(entry["id"]),
        kind=_text(said.get("kind")),
        status=_text(said.get("status")),
        # Ours; LiteLLM's (model_info); vLLM's.
        context=_count(said, "n_ctx", "max_input_tokens", "max_model_len", "context_length"),
        max_output=_count(said, "default_max_output", "max_output_tokens"),
        capabilities=frozenset(map(str, capabilities)) if isinstance(capabilities, list) else None,
        is_demo=said.get("is_demo") is True,
        meta=meta,
    )


def read_usage(body: dict[str, Any]) -> Usage:
    usage = body.get("usage")
    if not isinstance(usage, dict):
        return Usage()
    details = usage.get("prompt_tokens_details")
    return Usage(
        _count(usage, "prompt_tokens"),
        _count(usage, "completion_tokens"),
        _count(details, "cached_tokens") if isinstance(details, dict) else None,
    )


def read_timings(body: dict[str, Any]) -> Timings:
    timings = body.get("timings")
    if not isinstance(timings, dict):
        return Timings()
    return Timings(
        _rate(timings.get("prompt_per_second")), _rate(timings.get("predicted_per_second"))
    )


def read_chat(body: dict[str, Any]) -> Answer:
    """A whole ``chat.completion``. Raises ``KeyError``, ``IndexError`` or ``TypeError``."""
    choice = body["choices"][0]
    message = choice["message"]
    calls = message.get("tool_calls") or []
    return Answer(
        text=message.get("content") or "",
        model=str(body.get("model", "")),
        reasoning=message.get("reasoning_content") or "",
        finish_reason=choice.get("finish_reason"),
        tool_calls=tuple(
            ToolCall(
                str(call.get("id", "")), call["function"]["name"], call["function"]["arguments"]
            )
            for call in calls
        ),
        usage=read_usage(body),
        timings=read_timings(body),
    )


def read_completion(body: dict[str, Any]) -> Answer:
    """A ``text_completion``, or llama.cpp's own shape (``content``) as ``/infill`` has it."""
    if "choices" in body:
        choice = body["choices"][0]
        text, reason = choice["text"], choice.get("finish_reason")
        usage = read_usage(body)
    else:
        text = body["content"]
        reason = "length" if body.get("stop_type") == "limit" else "stop"
        usage = Usage(
            _count(body, "tokens_evaluated"),
            _count(body, "tokens_predicted"),
            _count(body, "tokens_cached"),
        )
    return Answer(
        text=str(text),
        model=str(body.get("model", "")),
        finish_reason=reason,
        usage=usage,
        timings=read_timings(body),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _count(source: dict[str, Any], *names: str) -> int | None:
    for name in names:
        value = source.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def _rate(value: Any) -> float | None:
    # A one-token answer has predicted_ms 0 and a rate of infinity, which JSON writes as null.
    return float(value) if isinstance(value, int | float) and value > 0 else None
