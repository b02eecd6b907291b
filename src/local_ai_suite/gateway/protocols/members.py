"""Members of a request that clients spell in many ways, or that the engine takes wrongly.

- Thinking on and off: ``enable_thinking`` (Qwen), ``thinking: {"type": "disabled"}`` (Anthropic,
  GLM), ``think`` (Ollama), ``reasoning: {"enabled": false, "effort": ...}`` (OpenRouter). The
  engine knows ``chat_template_kwargs.enable_thinking`` and ``reasoning_effort`` alone, and ignores
  the others with a 200.
- An empty text among the stops ends every answer of the engine before its first token.
- A limit of no tokens, and a forced tool where none is offered, are refused: the engine would
  generate all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import Refused

if TYPE_CHECKING:
    from .endpoint import Asked

_STOPS = ("stop", "stop_sequences")
_LIMITS = ("max_tokens", "max_completion_tokens")
_SPELLINGS = ("enable_thinking", "thinking", "think", "reasoning")


def members(asked: Asked) -> None:
    """Put them right. Raises Refused."""
    request = asked.request
    for name in _LIMITS:
        if request.get(name) == 0 and request[name] is not False:
            raise Refused(f"{name} must be at least 1.", name)
    if _forces(request.get("tool_choice")) and not request.get("tools"):
        raise Refused("tool_choice forces a tool, and there are no tools.", "tool_choice")
    for name in _STOPS:
        if request.get(name) == "" or (isinstance(request.get(name), list) and "" in request[name]):
            _drop_empty(asked.edit(), name)
    if any(name in request for name in _SPELLINGS):
        _think(asked)


def _forces(choice: Any) -> bool:
    """Whether it asks for a call of any tool. One that names a tool is held against the tools
    elsewhere."""
    return choice in ("required", "any", {"type": "any"})


def _drop_empty(request: dict[str, Any], name: str) -> None:
    stops = request.pop(name)
    if isinstance(stops, list) and (kept := [stop for stop in stops if stop != ""]):
        request[name] = kept


def _think(asked: Asked) -> None:
    """The first spelling that says something counts, and what the engine knows counts before."""
    request = asked.request
    wanted = next(
        (said for name in _SPELLINGS if (said := _says(request.get(name))) is not None), None
    )
    reasoning = request.get("reasoning")
    effort = reasoning.get("effort") if isinstance(reasoning, dict) else None
    if wanted is None and isinstance(request.get("think"), str):
        effort = request["think"]
    kwargs = request.get("chat_template_kwargs")
    kwargs = kwargs if isinstance(kwargs, dict) else {}
    if wanted is not None and "enable_thinking" not in kwargs:
        asked.edit()["chat_template_kwargs"] = {**kwargs, "enable_thinking": wanted}
    if isinstance(effort, str) and "reasoning_effort" not in request:
        asked.edit()["reasoning_effort"] = effort


def _says(value: Any) -> bool | None:
    """On, off, or nothing that would be either."""
    if isinstance(value, bool):
        return value
    if isinstance(value, dict):
        if isinstance(value.get("enabled"), bool):
            return bool(value["enabled"])
        return {"enabled": True, "disabled": False}.get(str(value.get("type")))
    return None
