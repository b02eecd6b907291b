"""Does the prompt fit the context, and what to cut when it does not.

Nothing is cut without being asked for: the caller gets a ``ContextOverflow`` with both numbers, and
may call :func:`cut` when the user says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import ContextOverflow
from local_ai_suite.messages import joined, tr

from .sources import Source, compose, shares

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Message = dict[str, Any]
    Count = Callable[[Sequence[Message]], int | None]

# An answer shorter than this is no answer; a prompt that leaves less room is refused.
LEAST_ANSWER = 64
# Room left for the answer when something is cut: a quarter, at most a long page.
_ROOM_SHARE, _MOST_ROOM = 4, 1024
# A chat template adds some tokens to each message; a byte is at least one token's worth of text.
_TEMPLATE_TOKENS = 256
_ATTEMPTS = 6  # each attempt keeps a bit less; the first is nearly always right
_STEP = 0.93


@dataclass(frozen=True, slots=True)
class Prompt:
    """Earlier messages, and a question with its sources. ``dropped``: old turns left out."""

    earlier: tuple[Message, ...]
    question: str
    sources: tuple[Source, ...] = ()
    system: str = ""
    dropped: int = 0

    @property
    def messages(self) -> list[Message]:
        system = [{"role": "system", "content": self.system}] if self.system else []
        now = {"role": "user", "content": compose(self.question, self.sources)}
        return [*system, *self.earlier, now]

    @property
    def is_empty(self) -> bool:
        return not compose(self.question, self.sources).strip()


def surely_fits(messages: Sequence[Message], context: int) -> bool:
    """True without counting: no tokeniser makes more tokens than there are bytes."""
    size = sum(len(str(m["content"]).encode("utf-8", "replace")) for m in messages)
    return size + _TEMPLATE_TOKENS + LEAST_ANSWER <= context


def check(prompt: Prompt, context: int | None, count: Count) -> int | None:
    """The prompt's tokens (``None``: not counted, it fits anyway or nobody knows).

    Raises :class:`ContextOverflow` with both numbers and with the sizes of what could be cut.
    """
    if context is None or surely_fits(prompt.messages, context):
        return None
    tokens = count(prompt.messages)
    if tokens is None or tokens + LEAST_ANSWER <= context:
        return tokens
    raise overflow(prompt, tokens, context)


def overflow(prompt: Prompt, tokens: int, context: int) -> ContextOverflow:
    parts = {source.name: len(source.text) for source in prompt.sources}
    longest = sorted(parts.items(), key=lambda part: -part[1])[:3]
    if longest:
        named = joined(
            ", ", (tr("{name} ({size:,} characters)", name=n, size=size) for n, size in longest)
        )
        hint = tr("`--cut` (/cut in a conversation) cuts the longest to fit: {named}.", named=named)
    elif prompt.earlier:
        hint = tr(
            "`--cut` (/cut) leaves out the oldest turns; a new conversation (/clear) has none."
        )
    else:
        hint = tr("Ask with less text, or raise CTX_SIZE in .env if the memory allows it.")
    return ContextOverflow(
        tr(
            "the prompt has {tokens:,} tokens; the model's context holds {context:,}, of "
            "which the answer needs {least} at least",
            tokens=tokens,
            context=context,
            least=LEAST_ANSWER,
        ),
        hint=hint,
        prompt_tokens=tokens,
        context_tokens=context,
        sources=parts,
    )


def cut(prompt: Prompt, context: int, count: Count, room: int | None = None) -> Prompt:
    """The same question with its sources cut (longest first), then without its oldest turns.

    ``room``: tokens kept for the answer. Raises :class:`ContextOverflow` when the question alone is
    too long.
    """
    room = min(room or _MOST_ROOM, max(context // _ROOM_SHARE, LEAST_ANSWER))
    allowed = context - room
    bare = replace(prompt, sources=())
    while bare.earlier and (count(bare.messages) or 0) > allowed:
        # A turn is a question and its answer: a template may insist that they alternate.
        bare = replace(bare, earlier=bare.earlier[2:], dropped=bare.dropped + 2)
    base = count(bare.messages) or 0
    if base > allowed:
        raise overflow(bare, base, context)
    if not prompt.sources:
        return bare
    whole = replace(bare, sources=prompt.sources)
    tokens = count(whole.messages) or 0
    if tokens <= allowed:
        return whole
    characters = sum(len(source.text) for source in prompt.sources)
    per_token = characters / max(tokens - base, 1)
    budget = int((allowed - base) * per_token)
    for _ in range(_ATTEMPTS):
        parts = shares(budget, [len(source.text) for source in prompt.sources])
        pairs = zip(prompt.sources, parts, strict=True)
        shorter = replace(whole, sources=tuple(source.cut_to(part) for source, part in pairs))
        now = count(shorter.messages) or 0
        if now <= allowed:
            return shorter
        # In proportion to what was too much, and a little more.
        budget = int(budget * _STEP * max(allowed - base, 1) / max(now - base, 1))
    raise overflow(prompt, tokens, context)
