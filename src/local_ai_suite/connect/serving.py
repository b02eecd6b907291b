"""What is running, as a client's configuration needs it: nothing here is a constant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_ai_suite.errors import UsageError
from local_ai_suite.messages import tr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local_ai_suite.client import Model

# The environment variable that configurations name instead of the key itself.
KEY_VARIABLE = "LOCAL_AI_SUITE_API_KEY"
# Sent where a client insists on a key and the server asks for none. Not a secret.
PLACEHOLDER = "local"
CHAT, CODE = "local-chat", "local-code"
# The share of the context that an answer may take when the server names no limit.
_OUTPUT_SHARE = 4


@dataclass(frozen=True, slots=True)
class Serving:
    """A model as clients see it. ``context`` and ``output`` in tokens, ``None``: not told."""

    id: str
    context: int | None
    output: int | None
    tools: bool
    fim: bool


@dataclass(frozen=True, slots=True)
class Endpoint:
    """``base_url`` ends in ``/v1``. ``fim_name``: the name under which clients know the template.

    ``key_needed``: the server refuses requests without the key.
    """

    base_url: str
    chat: Serving
    code: Serving
    embed: str | None
    fim_name: str | None
    key_needed: bool

    @property
    def root(self) -> str:
        """The address without ``/v1``, for clients that add it themselves."""
        return self.base_url.removesuffix("/v1")

    @property
    def models(self) -> tuple[Serving, ...]:
        """The chat and the code model, once when they are the same."""
        return (self.chat,) if self.code.id == self.chat.id else (self.chat, self.code)

    def key_or(self, reference: str) -> str:
        """``reference`` (how this client names an environment variable), else the placeholder."""
        return reference if self.key_needed else PLACEHOLDER


def read_endpoint(models: Sequence[Model], base_url: str, *, key_needed: bool) -> Endpoint:
    """From the running server's list. Raises :class:`UsageError` when nothing there can chat."""
    talking = {m.id: m for m in models if m.kind != "embed" and m.can("chat") is not False}
    talking = {name: m for name, m in talking.items() if "embed" not in name}
    if not talking:
        raise UsageError(
            tr("{base_url} serves no model that chats", base_url=base_url),
            hint=tr("Put a GGUF file into models/, or `lais models pull chat`."),
        )
    chat = talking.get(CHAT) or next(iter(talking.values()))
    code = talking.get(CODE) or chat
    # A base model fills in as well as any, though it does not chat.
    filling = [m.id for m in models if m.kind != "embed" and m.can("fim") is True]
    # Continue and others take Qwen's FIM template for a name with both words in it.
    named_for_it = [name for name in filling if "qwen" in name and "coder" in name]
    best = [*named_for_it, *(name for name in (CODE, code.id) if name in filling), *filling]
    embed = next((m.id for m in models if m.kind == "embed" or "embed" in m.id), None)
    return Endpoint(
        base_url=base_url,
        chat=_serving(chat),
        code=_serving(code),
        embed=embed,
        fim_name=next(iter(best), None),
        key_needed=key_needed,
    )


def _serving(model: Model) -> Serving:
    output = model.max_output
    if output is None and model.context is not None:
        output = model.context // _OUTPUT_SHARE
    return Serving(
        model.id,
        model.context,
        output,
        tools=model.can("tools") is not False,
        fim=model.can("fim") is True,
    )
