"""What a chat template can take, concluded from the prompts that it made of the probes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from .probes import PROBES

if TYPE_CHECKING:
    from collections.abc import Mapping

ToolIds = Literal["any", "nine"]


@dataclass(frozen=True, slots=True)
class Abilities:
    """A template's abilities; the defaults are those of a template that takes everything.

    A part of a conversation counts as taken when the rendered prompt holds it at its place.
    """

    system: bool = True
    """A system message at the start."""
    leading_systems: bool = True
    """Several system (or developer) messages at the start."""
    late_system: bool = True
    """A system (or developer) message after the first turn."""
    repeated_turns: bool = True
    """Two user or two assistant turns in a row."""
    assistant_first: bool = True
    no_user: bool = True
    """A conversation without any user turn."""
    prefill: bool = True
    """An assistant's turn at the end, to be continued."""
    text_parts: bool = True
    """Text in several parts, in every role."""
    tools: bool = True
    """Tool definitions stand in the prompt."""
    loose_schemas: bool = True
    """Parameters without a type, arrays without items."""
    tool_history: bool = True
    """A tool's result, after the call, is taken."""
    calls_shown: bool = True
    """Earlier calls stand in the prompt, with their arguments."""
    tool_ids: ToolIds = "any"
    """``nine``: ids of nine letters and digits only."""
    parallel_calls: bool = True
    """Several calls in one turn, each in the prompt."""
    user_after_result: bool = True
    late_result: bool = True
    """A result that does not follow its call at once."""
    lone_result: bool = True
    """A result without a call."""
    unanswered_call: bool = True
    text_beside_call: bool = True
    reasoning: bool = True
    """Reasoning of the turn under way (before a tool's result) stands in the prompt."""
    thinking_switch: bool = True
    """``enable_thinking`` changes the prompt."""
    reasoning_effort: bool = True
    """``reasoning_effort`` changes the prompt."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON; :meth:`from_dict` reads it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: object) -> Abilities | None:
        """What :meth:`as_dict` wrote; ``None`` for another version's or a damaged one."""
        kinds = {item.name: type(item.default) for item in fields(cls)}
        if not isinstance(data, dict) or data.keys() != kinds.keys():
            return None
        if any(not isinstance(data[name], kind) for name, kind in kinds.items()):
            return None
        return cls(**data)


EVERYTHING_REFUSED = Abilities(
    **{item.name: False for item in fields(Abilities) if item.default is True}, tool_ids="nine"
)
"""The strictest template: what even this one takes needs no translation for any."""


def conclude(prompts: Mapping[str, str | None]) -> Abilities | None:
    """The abilities behind ``prompts``: per probe's name what was rendered, ``None`` if refused.

    ``None`` when not even a user's single message is rendered: then nothing follows from the rest.
    """
    kept = {name: probe.is_kept_in(prompts.get(name)) for name, probe in PROBES.items()}
    if not kept["plain"]:
        return None
    call, parallel = kept["call_and_result"], kept["parallel_calls"]
    # A template that never shows calls shows none of several either; splitting would not help.
    parallel = parallel if call else kept["parallel_results"]
    return Abilities(
        system=kept["system"],
        leading_systems=kept["two_systems"] and kept["system_then_developer"],
        late_system=kept["late_system"] and kept["late_developer"] and kept["last_system"],
        repeated_turns=kept["two_users"] and kept["two_assistants"],
        assistant_first=kept["assistant_first"] and kept["system_assistant_first"],
        no_user=kept["only_system"]
        and kept["only_assistant"]
        and _differ(prompts, "only_system", "only_system_closed"),
        prefill=kept["prefill"],
        text_parts=all(
            kept[name] for name in ("system_parts", "user_parts", "assistant_parts")
        ) and (kept["tool_parts"] or not kept["result"]),
        tools=kept["tools"],
        loose_schemas=kept["loose_schemas"],
        tool_history=kept["result"],
        calls_shown=kept["call_and_result"],
        tool_ids="any" if kept["long_id"] or not kept["result"] else "nine",
        parallel_calls=parallel,
        user_after_result=kept["user_after_result"],
        late_result=kept["late_result"],
        lone_result=kept["lone_result"] and kept["lone_result_first"],
        unanswered_call=kept["unanswered_call"],
        text_beside_call=kept["text_beside_call"],
        reasoning=kept["reasoning"],
        thinking_switch=_differ(prompts, "thinking_on", "thinking_off"),
        reasoning_effort=_differ(prompts, "effort_low", "effort_high"),
    )  # fmt: skip


def _differ(prompts: Mapping[str, str | None], one: str, other: str) -> bool:
    first, second = prompts.get(one), prompts.get(other)
    return first is not None and second is not None and first != second
