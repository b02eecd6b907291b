"""One question to its answer: which model, does it fit, ask, remember."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import HistoryError, UsageError
from local_ai_suite.messages import say, tr

from . import budget
from .budget import Prompt
from .choose import Choice, Kind, choose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from local_ai_suite.client import Answer, ChatStream, Client, Model
    from local_ai_suite.settings import Settings

    from .history import History, Said
    from .sources import Source

CHAT_NAME, CODE_NAME = "local-chat", "local-code"
# Tokens of an answer where nobody set a limit: some six pages, and at the speed of a small machine
# minutes instead of hours. A model that thinks first spends most of its tokens on that.
MOST_TOKENS, MOST_TOKENS_THINKING = 4_096, 12_288


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the flags say. ``None``: nobody said."""

    model: str | None = None
    kind: Kind | None = None
    system: str = ""
    schema: Mapping[str, Any] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """A question that fits, before it is sent."""

    model: str
    reason: str
    prompt: Prompt
    context: int | None
    notes: tuple[str, ...] = ()
    max_tokens: int = MOST_TOKENS


@dataclass(slots=True)
class Conversation:
    """The turns so far, with one server. ``tell`` gets notes for the user, one line each."""

    client: Client
    wishes: Wishes = field(default_factory=Wishes)
    turns: list[dict[str, Any]] = field(default_factory=list)
    id: int | None = None
    _models: tuple[Model, ...] | None = None

    @property
    def models(self) -> tuple[Model, ...]:
        """What the server has; asked once."""
        if self._models is None:
            self._models = self.client.models()
        return self._models

    def prepare(self, question: str, sources: Sequence[Source] = ()) -> Ready:
        """Choose the model and check that all fits. Raises ``ContextOverflow``, ``UsageError``."""
        prompt = Prompt(tuple(self.turns), question, tuple(sources), self.wishes.system)
        if prompt.is_empty:
            raise UsageError(tr("there is no question"), hint=tr('Write one: `lais ai "..."`.'))
        model, reason = self._choose(question, [source.name for source in sources])
        context = model.context
        count = self._counter(model.id)
        notes: list[str] = [
            tr("{name} was {note}", name=source.name, note=source.note)
            for source in sources
            if source.note
        ]
        if model.can("chat") is False:
            told = tr(
                "{id} is a base model: it goes on with a text, it answers nobody", id=model.id
            )
            notes.insert(0, told)
        if self.wishes.cut and context is not None:
            whole, prompt = prompt, self._cut(prompt, context, count)
            notes += _cut_notes(whole, prompt)
        else:
            budget.check(prompt, context, count)
        most = MOST_TOKENS_THINKING if model.can("thinking") else MOST_TOKENS
        most = self.wishes.max_tokens or most
        return Ready(model.id, reason, prompt, context, tuple(notes), most)

    def _cut(self, prompt: Prompt, context: int, count: budget.Count) -> Prompt:
        if budget.surely_fits(prompt.messages, context):
            return prompt
        return budget.cut(prompt, context, count, self.wishes.max_tokens)

    def open(self, ready: Ready) -> ChatStream:
        """Send it; the answer as a stream."""
        wishes = self.wishes
        return self.client.stream_chat(
            ready.prompt.messages,
            model=ready.model,
            max_tokens=ready.max_tokens,
            temperature=wishes.temperature,
            schema=wishes.schema,
        )

    def ask(self, ready: Ready) -> Answer:
        """Send it; the answer as a whole."""
        wishes = self.wishes
        return self.client.chat(
            ready.prompt.messages,
            model=ready.model,
            max_tokens=ready.max_tokens,
            temperature=wishes.temperature,
            schema=wishes.schema,
        )

    def keep(self, ready: Ready, answer: Answer, history: History | None) -> str | None:
        """Add the turn; what to tell the user when the history could not be written.

        A stopped answer is kept as far as it came; one without a word is not kept.
        """
        if not answer.text:
            return None
        if ready.prompt.dropped:
            del self.turns[: ready.prompt.dropped]
        asked = ready.prompt.messages[-1]
        said = {"role": "assistant", "content": answer.text}
        self.turns += [asked, said]
        if history is None:
            return None
        more = {
            "model": ready.model,
            "prompt_tokens": answer.usage.prompt_tokens,
            "completion_tokens": answer.usage.completion_tokens,
            "finish_reason": answer.finish_reason or "stopped",
        }
        try:
            rows = [asked, {**said, **more}]
            if self.id is None:
                self.id = history.start(ready.prompt.question or asked["content"])
                if self.wishes.system:
                    rows.insert(0, {"role": "system", "content": self.wishes.system})
            history.add(self.id, rows)
        except HistoryError as exc:
            return tr("{message} ({hint})", message=exc.message, hint=exc.hint)
        return None

    def resume(self, conversation: int, said: Sequence[Said]) -> None:
        """Go on with an earlier conversation."""
        self.id = conversation
        self.turns = [
            {"role": one.role, "content": one.content} for one in said if one.role != "system"
        ]
        system = next((one.content for one in said if one.role == "system"), "")
        if system and not self.wishes.system:
            self.wishes = replace(self.wishes, system=system)

    def clear(self) -> None:
        """The next question starts a new conversation."""
        self.turns, self.id = [], None

    def _counter(self, model: str) -> budget.Count:
        return lambda messages: self.client.count_tokens(messages, model=model)

    def _choose(self, question: str, files: list[str]) -> tuple[Model, str]:
        if self.wishes.model:
            return self._named(self.wishes.model), "--model"
        choice = choose(question, files)
        if self.wishes.kind:
            choice = Choice(self.wishes.kind, ())
            reason = f"--{self.wishes.kind}"
        else:
            reason = choice.reason
        model = _of_kind(self.models, choice.kind)
        if model is None:
            raise UsageError(
                tr("{base_url} has no model that chats", base_url=self.client.base_url),
                hint=tr("Put a GGUF file into models/, or `lais models pull chat`."),
            )
        if choice.kind == "code" and model.kind == "chat" and model.id != CODE_NAME:
            reason += tr("; there is no code model")
        return model, reason

    def _named(self, name: str) -> Model:
        for model in self.models:
            if model.id == name:
                return model
        there = ", ".join(sorted(model.id for model in self.models)) or "none"
        raise UsageError(
            tr("there is no model called {name}", name=name),
            hint=tr("There is: {there}.", there=there),
        )


def _of_kind(models: Sequence[Model], kind: Kind) -> Model | None:
    """The model by its well-known name, else by what the server says it is for, else any."""
    wanted = CODE_NAME if kind == "code" else CHAT_NAME
    writing = [m for m in models if m.kind not in {"embed", "rerank"}]
    # A base model only where nothing chats: it goes on with a text rather than answering.
    talking = [m for m in writing if m.can("chat") is not False] or writing
    for fits in (
        lambda m: m.id == wanted,
        lambda m: m.kind == kind,
        lambda m: m.id == CHAT_NAME,
        lambda m: "embed" not in m.id,
    ):
        if found := next(filter(fits, talking), None):
            return found
    return None


def _cut_notes(whole: Prompt, cut: Prompt) -> list[str]:
    notes: list[str] = [
        tr(
            "{name} was cut to {kept:,} of {whole:,} characters",
            name=source.name,
            kept=len(source.text),
            whole=source.cut_from,
        )
        for source in cut.sources
        if source.cut_from is not None
    ]
    if dropped := len(whole.earlier) - len(cut.earlier):
        notes.append(tr("the {dropped} oldest messages were left out", dropped=dropped))
    return notes


def status_line(ready: Ready, answer: Answer) -> str:
    """``local-chat · 120 + 45 of 4,096 tokens (4 %) · 38.2 tokens/s``; only what is known."""
    parts = [ready.model]
    usage = answer.usage
    if usage.prompt_tokens is not None and usage.completion_tokens is not None:
        used = usage.prompt_tokens + usage.completion_tokens
        text = f"{usage.prompt_tokens:,} + {usage.completion_tokens:,}"
        if ready.context:
            text += say(
                " of {context:,} tokens ({share:.0f} %)",
                context=ready.context,
                share=100 * used / ready.context,
            )
        else:
            text += say(" tokens")
        parts.append(text)
    if (rate := answer.timings.predicted_per_second) is not None:
        parts.append(say("{rate:.1f} tokens/s", rate=rate))
    if answer.finish_reason == "length":
        parts.append(_cut_off(ready, answer))
    elif answer.finish_reason is None:
        parts.append(say("stopped"))
    return " · ".join(parts)


def _cut_off(ready: Ready, answer: Answer) -> str:
    used = answer.usage.completion_tokens
    if used is not None and used < ready.max_tokens:
        return say("cut: the context is full")
    return say("cut at {count:,} tokens (--max-tokens allows more)", count=ready.max_tokens)


@contextlib.contextmanager
def opened_history(settings: Settings, path: Path, tell: Callable[[str], None]) -> Any:
    """The history, or ``None`` when it is off or broken (then ``tell`` hears why)."""
    if settings.ai_history == "off":
        yield None
        return
    from .history import History  # noqa: PLC0415 (sqlite3 is not needed before)

    try:
        history = History(path)
    except HistoryError as exc:
        tell(tr("{message} ({hint})", message=exc.message, hint=exc.hint))
        yield None
        return
    with history:
        yield history
